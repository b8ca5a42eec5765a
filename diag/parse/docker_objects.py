"""`docker network inspect`, `docker inspect`, `docker version`, `docker info`: as the API of versions 1.24 and later gives them.

>>> network, = parse_networks(b'''[{"Name": "net", "Id": "0123456789abcdef", "Driver": "bridge",
...   "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]}, "Options": {}}]''', "docker/networks.json").value
>>> network.bridge_name, str(network.ipam[0].subnet), network.icc
('br-0123456789ab', '10.1.0.0/24', True)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from diag.model.address import Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint, Engine, IpamConfig, NetworkMember, PublishedPort
from diag.model.message import say
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import dict_of, json_items, list_of, number_of, text_of
from diag.parse.result import Parsed

_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp|sctp))?")


def _ip(text: str) -> Ip | None:
    try:
        return Ip.parse(text.partition("/")[0]) if text else None
    except ValueError:
        return None


@lru_cache(maxsize=1 << 10)
def _port(key: str) -> tuple[int, str] | None:
    """`80/tcp`, or `80` for TCP."""
    match = _PORT.fullmatch(key)
    return None if match is None else (int(match[1]), match[2] or "tcp")


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple([v for v in values if isinstance(v, str) and v])


def parse_networks(data: bytes, file: str) -> Parsed[tuple[DockerNetwork, ...]]:
    """`docker network inspect`."""
    items = json_items(data, file, say("which networks there are"))
    found, gaps = [], list(items.gaps)
    for item in items.value:
        name = text_of(item.body, "Name")
        if not name:
            gaps.append(Gap(GapKind.UNREADABLE, file, item.line, say("a network without a name")))
            continue
        found.append(_network(item.body, name, Evidence(file, item.line, f"network {name}")))
    return Parsed(tuple(sorted(found, key=lambda n: (n.name, n.id))), tuple(gaps))


def _network(body: dict[str, Any], name: str, evidence: Evidence) -> DockerNetwork:
    options = {k: v for k, v in dict_of(body, "Options").items() if isinstance(v, str)}
    ipam = dict_of(body, "IPAM")
    return DockerNetwork(
        name,
        text_of(body, "Id"),
        text_of(body, "Driver"),
        text_of(body, "Scope") or "local",
        body.get("Internal") is True,
        body.get("Ingress") is True,
        body.get("Attachable") is True,
        body.get("EnableIPv6") is True,
        tuple(c for raw in list_of(ipam, "Config") if isinstance(raw, dict) and (c := _ipam(raw)) is not None),
        MappingProxyType(options),
        tuple(_member(key, value) for key, value in dict_of(body, "Containers").items() if isinstance(value, dict)),
        evidence=evidence,
    )


def _ipam(raw: dict[str, Any]) -> IpamConfig | None:
    try:
        subnet = Prefix.parse(text_of(raw, "Subnet"))
        ip_range = text_of(raw, "IPRange")
        return IpamConfig(subnet, _ip(text_of(raw, "Gateway")), Prefix.parse(ip_range) if ip_range else None)
    except ValueError:
        return None


def _member(container_id: str, raw: dict[str, Any]) -> NetworkMember:
    addresses = (_ip(text_of(raw, key)) for key in ("IPv4Address", "IPv6Address"))
    found = tuple(a for a in addresses if a is not None)
    return NetworkMember(container_id, text_of(raw, "Name"), found, text_of(raw, "EndpointID"))


def parse_containers(data: bytes, file: str) -> Parsed[tuple[Container, ...]]:
    """`docker inspect` of containers. Names that occur twice get the short id behind them."""
    items = json_items(data, file, say("which containers there are"))
    found: list[Container] = []
    gaps = list(items.gaps)
    names: set[str] = set()
    for item in items.value:
        container_id = text_of(item.body, "Id")
        name = text_of(item.body, "Name").lstrip("/") or container_id[:12]
        if not name:
            gaps.append(Gap(GapKind.UNREADABLE, file, item.line, say("a container without name and id")))
            continue
        if name in names:
            gaps.append(Gap(GapKind.INCONSISTENT, file, item.line, say("two containers are called {name}", name=name)))
            name = f"{name}-{container_id[:12] or item.line}"
        names.add(name)
        found.append(_container(item.body, container_id or name, name, Evidence(file, item.line, f"container {name}")))
    return Parsed(tuple(sorted(found, key=lambda c: c.name)), tuple(gaps))


def _container(body: dict[str, Any], container_id: str, name: str, evidence: Evidence) -> Container:
    state, host_config, config = dict_of(body, "State"), dict_of(body, "HostConfig"), dict_of(body, "Config")
    settings = dict_of(body, "NetworkSettings")
    labels = dict_of(config, "Labels")
    endpoints = tuple(
        _endpoint(network, raw)
        for network, raw in dict_of(settings, "Networks").items()
        if isinstance(raw, dict) and network not in ("host", "none")
    )
    return Container(
        container_id,
        name,
        text_of(state, "Status") or ("running" if state.get("Running", True) else "exited"),
        text_of(host_config, "NetworkMode") or "default",
        text_of(config, "Hostname"),
        number_of(state, "Pid"),
        endpoints,
        _links(_texts(list_of(host_config, "Links"))),
        _extra_hosts(_texts(list_of(host_config, "ExtraHosts"))),
        _ports(dict_of(settings, "Ports")),
        tuple([port for key in dict_of(config, "ExposedPorts") if (port := _port(key)) is not None]),
        text_of(settings, "SandboxKey"),
        text_of(config, "Image"),
        text_of(labels, "com.docker.compose.project"),
        text_of(labels, "com.docker.compose.service"),
        evidence,
        tuple([(key, value) for key, value in labels.items() if isinstance(value, str)]),
        _asked_ports(dict_of(host_config, "PortBindings")),
    )


def _endpoint(network: str, raw: dict[str, Any]) -> Endpoint:
    fixed = dict_of(raw, "IPAMConfig")
    wanted = (_ip(text_of(fixed, key)) for key in ("IPv4Address", "IPv6Address"))
    return Endpoint(
        network,
        text_of(raw, "NetworkID"),
        _ip(text_of(raw, "IPAddress")),
        _ip(text_of(raw, "GlobalIPv6Address")),
        _ip(text_of(raw, "Gateway")),
        text_of(raw, "MacAddress"),
        _texts(list_of(raw, "Aliases")),
        _texts(list_of(raw, "DNSNames")),
        _links(_texts(list_of(raw, "Links"))),
        bool(text_of(fixed, "IPv4Address") or text_of(fixed, "IPv6Address")),
        number_of(raw, "GwPriority"),
        tuple([ip for ip in wanted if ip is not None]),
    )


def _links(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`/db:/web/alias` and `db:alias`."""
    found = []
    for text in texts:
        target, _, alias = text.partition(":")
        target = target.strip("/")
        found.append((target, alias.rpartition("/")[2] or target))
    return tuple(found)


def _extra_hosts(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`name:address`, also with `=`, which newer versions accept."""
    found = []
    for text in texts:
        match = re.match(r"([^:=]+)[:=](.+)", text)
        if match:
            found.append((match[1], match[2].strip("[]")))
    return tuple(found)


def _ports(ports: dict[str, Any]) -> tuple[PublishedPort, ...]:
    return tuple([binding for binding in _asked_ports(ports) if binding.host_port])


def _asked_ports(ports: dict[str, Any]) -> tuple[PublishedPort, ...]:
    found = []
    for key, bindings in ports.items():
        port = _port(key)
        if port is None or not isinstance(bindings, list):
            continue
        found += [
            PublishedPort(*port, number_of(binding, "HostPort"), _ip(text_of(binding, "HostIp")))
            for binding in bindings
            if isinstance(binding, dict)
        ]
    return tuple(found)


def parse_engine(version: bytes | None, info: bytes | None) -> Engine:
    """`docker version` and `docker info` as JSON; what is missing stays empty."""
    server = dict_of(_one(version), "Server")
    facts = _one(info)
    backend = dict_of(facts, "FirewallBackend")
    details = {str(i[0]): str(i[1]) for i in list_of(backend, "Info") if isinstance(i, list) and len(i) == 2}
    proxy = details.get("EnableUserlandProxy")
    return Engine(
        text_of(facts, "ServerVersion") or text_of(server, "Version"),
        text_of(facts, "Name"),
        text_of(facts, "KernelVersion") or text_of(server, "KernelVersion"),
        text_of(facts, "OperatingSystem"),
        text_of(backend, "Driver"),
        None if proxy is None else proxy == "true",
        text_of(dict_of(facts, "Swarm"), "LocalNodeState"),
    )


def _one(data: bytes | None) -> dict[str, Any]:
    items = json_items(data or b"", "").value
    return items[0].body if items else {}
