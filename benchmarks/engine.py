"""The files of `docker/` of a made-up host: what a Docker 29 engine says, as far as `diag capture` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.namespaces import HOST_NAME
from benchmarks.plan import DOCKER0, Bridge, Container, Endpoint, Host

Json = dict[str, Any]

_RELEASE = "29.7.2"
_KERNEL = "6.18.44"
_EPOCH = datetime(2026, 11, 20, 8, 0, 0, tzinfo=UTC)
_IMAGE = f"sha256:{'05d08f502736764e37d10d10b53e79b6' * 2}"


def engine_files(host: Host) -> Mapping[str, bytes]:
    """The files of `docker/`, by name."""
    members: dict[str, list[tuple[Container, Endpoint]]] = {bridge.name: [] for bridge in host.bridges}
    for container, endpoint in host.endpoints:
        members[endpoint.bridge.name].append((container, endpoint))
    networks = [
        _bridge(DOCKER0, (), _DOCKER0_OPTIONS),
        *(_bridge(bridge, members[bridge.name], {}) for bridge in host.bridges),
        _predefined("host", "host"),
        _predefined("none", "null"),
    ]
    return {
        "version.json": _encode({"Server": _VERSION}),
        "info.json": _encode(_info(len(host.containers))),
        "networks.json": _encode(sorted(networks, key=lambda network: str(network["Name"]))),
        "containers.json": _encode([_container(container) for container in reversed(host.containers)]),
    }


def _encode(document: object) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _when(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{seconds * 7919 % 10**9:09d}Z"


_VERSION = {
    "Version": _RELEASE,
    "ApiVersion": "1.56",
    "MinAPIVersion": "1.40",
    "Os": "linux",
    "Arch": "amd64",
    "KernelVersion": _KERNEL,
}


def _info(containers: int) -> Json:
    return {
        "ServerVersion": _RELEASE,
        "Name": HOST_NAME,
        "KernelVersion": _KERNEL,
        "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
        "OSType": "linux",
        "OSVersion": "12",
        "Architecture": "x86_64",
        "Containers": containers,
        "ContainersRunning": containers,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "IPv4Forwarding": True,
        "LiveRestoreEnabled": False,
        "FirewallBackend": {
            "Driver": "iptables",
            "Info": [["EnableUserlandProxy", "true"], ["UserlandProxyPath", "/usr/bin/docker-proxy"]],
        },
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive"},
    }


# Networks


_DOCKER0_OPTIONS = {
    "com.docker.network.bridge.default_bridge": "true",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",  # noqa: S104
    "com.docker.network.bridge.name": "docker0",
    "com.docker.network.driver.mtu": "1500",
}


def _bridge(bridge: Bridge, members: Iterable[tuple[Container, Endpoint]], options: Mapping[str, str]) -> Json:
    subnet = [{"Subnet": str(bridge.subnet), "Gateway": str(bridge.gateway)}]
    if bridge.subnet6 is not None:
        subnet.append({"Subnet": str(bridge.subnet6), "Gateway": str(bridge.gateway6)})
    labels = {"com.docker.compose.project": bridge.project} if bridge.project else {}
    listed = {container.id: _member(container, endpoint) for container, endpoint in members}
    return {
        "Name": bridge.name,
        "Id": bridge.id,
        "Created": _when(bridge.index),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": bridge.subnet6 is not None,
        "IPAM": {"Driver": "default", "Config": subnet},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(sorted(listed.items())),
        "Options": dict(options),
        "Labels": labels,
    }


def _predefined(name: str, driver: str) -> Json:
    network = _bridge(DOCKER0, (), {})
    return {
        **network,
        "Name": name,
        "Id": network["Id"][::-1] if name == "host" else network["Id"][1:] + network["Id"][0],
        "Driver": driver,
        "IPAM": {"Driver": "default", "Config": None},
    }


def _member(container: Container, endpoint: Endpoint) -> Json:
    return {
        "Name": container.name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": f"{endpoint.address}/{endpoint.bridge.subnet.prefixlen}",
        "IPv6Address": f"{endpoint.address6}/{endpoint.bridge.subnet6.prefixlen}" if endpoint.bridge.subnet6 else "",
    }


# Containers


def _container(container: Container) -> Json:
    created = 1000 + container.number
    bindings = {port.key: [{"HostIp": "", "HostPort": str(port.host_port)}] for port in container.ports}
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Created": _when(created),
        "Image": _IMAGE,
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "Restarting": False,
            "Dead": False,
            "Pid": container.pid,
            "StartedAt": _when(created + 1),
        },
        "Config": {
            "Hostname": container.short_id,
            "Domainname": "",
            "Image": container.service,
            **({"ExposedPorts": {port.key: {} for port in container.ports}} if container.ports else {}),
            "Labels": {
                "com.docker.compose.project": container.endpoints[0].bridge.project,
                "com.docker.compose.service": container.service,
            },
        },
        "HostConfig": {
            "NetworkMode": container.endpoints[0].bridge.name,
            "Links": None,
            "ExtraHosts": [],
            "Dns": [],
            "DnsOptions": [],
            "DnsSearch": [],
            "PortBindings": bindings,
            "PublishAllPorts": False,
        },
        "NetworkSettings": {
            "SandboxID": container.id[::-1],
            "SandboxKey": f"/run/docker/netns/{container.id[::-1][:12]}",
            "Ports": {port.key: _bound(port.host_port) for port in container.ports},
            "Networks": {
                endpoint.bridge.name: _endpoint(container, endpoint)
                for endpoint in sorted(container.endpoints, key=lambda endpoint: endpoint.bridge.name)
            },
        },
    }


def _bound(host_port: int) -> list[Json]:
    return [{"HostIp": address, "HostPort": str(host_port)} for address in ("0.0.0.0", "::")]  # noqa: S104


def _endpoint(container: Container, endpoint: Endpoint) -> Json:
    aliases = [container.name, container.service]
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": aliases,
        "DNSNames": [*aliases, container.short_id],
        "NetworkID": endpoint.bridge.id,
        "EndpointID": endpoint.id,
        "Gateway": str(endpoint.bridge.gateway),
        "IPAddress": str(endpoint.address),
        "IPPrefixLen": endpoint.bridge.subnet.prefixlen,
        "IPv6Gateway": str(endpoint.bridge.gateway6 or ""),
        "GlobalIPv6Address": str(endpoint.address6 or ""),
        "GlobalIPv6PrefixLen": endpoint.bridge.subnet6.prefixlen if endpoint.bridge.subnet6 is not None else 0,
        "MacAddress": endpoint.mac,
        "GwPriority": 0,
        "DriverOpts": None,
    }
