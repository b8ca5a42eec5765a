"""What may leave the engine's answers: named fields, and nothing else.

`docker inspect` holds passwords in environment variables and command lines, paths, and whatever labels people invent.
So the rule is an allowlist: a field that is not named here does not exist for a bundle, whatever a future engine adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Keep = Callable[[Any], Any]
"""Gives the part of a JSON value that may be kept, or `DROP`."""

DROP = object()


def plain(value: Any) -> Any:
    """Text, a number, a truth value, null, or a list of those."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and all(isinstance(v, str | int | float | bool) for v in value):
        return value
    return DROP


def record(**fields: Keep) -> Keep:
    """An object: the named fields only."""

    def keep(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return DROP
        kept = {name: rule(value[name]) for name, rule in fields.items() if name in value}
        return {name: part for name, part in kept.items() if part is not DROP}

    return keep


def each(rule: Keep) -> Keep:
    """A list: the part of every element."""

    def keep(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, list):
            return DROP
        return [part for part in map(rule, value) if part is not DROP]

    return keep


def by_key(rule: Keep, allowed: Callable[[str], bool] = lambda _: True) -> Keep:
    """An object whose keys are data (network names, ports, options): those that are `allowed`."""

    def keep(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return DROP
        kept = {key: rule(part) for key, part in value.items() if allowed(key)}
        return {key: part for key, part in kept.items() if part is not DROP}

    return keep


_LABELS = frozenset({"com.docker.compose.project", "com.docker.compose.service"})
_OPTIONS = frozenset({"parent", "macvlan_mode", "ipvlan_mode", "ipvlan_flag", "encrypted"})

_labels = by_key(plain, lambda key: key in _LABELS)
_options = by_key(plain, lambda key: key.startswith("com.docker.network.") or key in _OPTIONS)
_port_set = by_key(record())
_bindings = by_key(each(record(HostIp=plain, HostPort=plain)))

_endpoint = record(
    IPAMConfig=record(IPv4Address=plain, IPv6Address=plain, LinkLocalIPs=plain),
    Links=plain,
    Aliases=plain,
    DNSNames=plain,
    NetworkID=plain,
    EndpointID=plain,
    Gateway=plain,
    IPAddress=plain,
    IPPrefixLen=plain,
    IPv6Gateway=plain,
    GlobalIPv6Address=plain,
    GlobalIPv6PrefixLen=plain,
    MacAddress=plain,
    GwPriority=plain,
    DriverOpts=_options,
)


def _container(labels: Keep) -> Keep:
    return record(
        Id=plain,
        Name=plain,
        Created=plain,
        Image=plain,
        State=record(
            Status=plain, Running=plain, Paused=plain, Restarting=plain, Dead=plain, Pid=plain, StartedAt=plain
        ),
        Config=record(
            Hostname=plain, Domainname=plain, Image=plain, ExposedPorts=_port_set, MacAddress=plain, Labels=labels
        ),
        HostConfig=record(
            NetworkMode=plain,
            Links=plain,
            ExtraHosts=plain,
            Dns=plain,
            DnsOptions=plain,
            DnsSearch=plain,
            PortBindings=_bindings,
            PublishAllPorts=plain,
        ),
        NetworkSettings=record(
            Bridge=plain,
            SandboxID=plain,
            SandboxKey=plain,
            HairpinMode=plain,
            Ports=_bindings,
            EndpointID=plain,
            Gateway=plain,
            IPAddress=plain,
            IPPrefixLen=plain,
            IPv6Gateway=plain,
            GlobalIPv6Address=plain,
            GlobalIPv6PrefixLen=plain,
            MacAddress=plain,
            Networks=by_key(_endpoint),
        ),
    )


container: Keep = _container(_labels)
"""`docker inspect` of one container."""


def container_with(keys: frozenset[str]) -> Keep:
    """The same with labels that the user asks for by their keys, each as a whole key."""
    return _container(by_key(plain, lambda key: key in _LABELS or key in keys)) if keys else container


network: Keep = record(
    Name=plain,
    Id=plain,
    Created=plain,
    Scope=plain,
    Driver=plain,
    EnableIPv4=plain,
    EnableIPv6=plain,
    IPAM=record(
        Driver=plain,
        Config=each(record(Subnet=plain, IPRange=plain, Gateway=plain, AuxiliaryAddresses=by_key(plain))),
    ),
    Internal=plain,
    Attachable=plain,
    Ingress=plain,
    ConfigFrom=record(Network=plain),
    ConfigOnly=plain,
    Containers=by_key(record(Name=plain, EndpointID=plain, MacAddress=plain, IPv4Address=plain, IPv6Address=plain)),
    Options=_options,
    Labels=_labels,
    Peers=each(record(Name=plain, IP=plain)),
)
"""`docker network inspect` of one network."""

info: Keep = record(
    ServerVersion=plain,
    Name=plain,
    KernelVersion=plain,
    OperatingSystem=plain,
    OSType=plain,
    OSVersion=plain,
    Architecture=plain,
    Containers=plain,
    ContainersRunning=plain,
    ContainersPaused=plain,
    ContainersStopped=plain,
    IPv4Forwarding=plain,
    BridgeNfIptables=plain,
    BridgeNfIp6tables=plain,
    LiveRestoreEnabled=plain,
    FirewallBackend=record(Driver=plain, Info=each(plain)),
    DefaultAddressPools=each(record(Base=plain, Size=plain)),
    Swarm=record(NodeID=plain, NodeAddr=plain, LocalNodeState=plain),
)
"""`docker info`."""

version: Keep = record(
    Version=plain,
    ApiVersion=plain,
    MinAPIVersion=plain,
    Os=plain,
    Arch=plain,
    KernelVersion=plain,
)
"""The server's part of `docker version`."""
