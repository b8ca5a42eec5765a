"""On which ports the host itself takes a request: what its processes listen on, without docker-proxy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from diag.model.address import Family, Ip
from diag.model.flow import Protocol
from diag.model.netfilter import Ranges
from diag.model.snapshot import Snapshot
from diag.symbolic.space import runs

_ALL = (1, 65535)


@dataclass(frozen=True, slots=True)
class HostPorts:
    """The ports of one protocol."""

    own: Ranges
    """Of the host itself."""
    proxied: Ranges
    """Of docker-proxy."""


def host_ports(snapshot: Snapshot, protocol: Protocol, address: int) -> HostPorts:
    """At one of the host's IPv4 addresses.

    A port that nobody listens on counts where a container runs on the host's network and could open it, or where the
    capture does not hold the sockets.
    """
    ip = Ip(Family.IPV4, address)
    sockets = snapshot.netns["host"].sockets
    opened = {s.port for s in sockets or () if s.protocol == protocol.value and (s.ip.value == 0 or s.ip == ip)}
    proxied = {
        port.host_port
        for container in snapshot.containers
        for port in container.ports
        if port.protocol == protocol.value and (port.host_ip in (None, ip) or port.host_ip == Ip(Family.IPV4, 0))
    }
    if sockets is not None:
        proxied &= opened
    elif snapshot.engine.userland_proxy is False:
        proxied = set()
    if sockets is not None and "host" not in snapshot.netns_of.values():
        return HostPorts(tuple(runs(opened - proxied)), tuple(runs(proxied)))
    edges = [0, *sorted(proxied), _ALL[1] + 1]
    own = tuple((low + 1, high - 1) for low, high in itertools.pairwise(edges) if low + 1 < high)
    return HostPorts(own, tuple(runs(proxied)))
