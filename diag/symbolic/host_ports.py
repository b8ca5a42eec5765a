"""On which ports the host itself takes a request: what its processes listen on, without docker-proxy."""

from __future__ import annotations

import itertools
from collections import defaultdict

from msgspec import Struct

from diag.model.address import Family, Ip
from diag.model.flow import Protocol
from diag.model.netfilter import Ranges
from diag.model.snapshot import Snapshot
from diag.symbolic.space import runs

_END = 65536


class HostPorts(Struct, frozen=True):
    """The ports of one protocol at one address."""

    own: Ranges
    """Of the host itself."""
    bound: Ranges
    """That are opened at this address and not at any, docker-proxy's too."""
    proxied: Ranges
    """Of docker-proxy."""


class HostSockets:
    """The host's sockets and published ports, by address.

    A port that nobody listens on counts as the host's own where a container runs on the host's network and could open
    it, or where the capture does not hold the sockets.
    """

    def __init__(self, snapshot: Snapshot, family: Family) -> None:
        sockets = snapshot.netns["host"].sockets
        self._captured = sockets is not None
        self._alone = "host" not in snapshot.netns_of.values()
        self._proxies = self._captured or snapshot.engine.userland_proxy is not False
        self._opened: dict[tuple[str, int], set[int]] = defaultdict(set)
        """By protocol and address; 0 is any."""
        self._published: dict[tuple[str, int], set[int]] = defaultdict(set)
        for socket in sockets or ():
            if socket.ip.family is family or (socket.ip.value == 0 and socket.ip.family is Family.IPV6):
                self._opened[socket.protocol, socket.ip.value].add(socket.port)
        for container in snapshot.containers:
            for port in container.ports:
                if port.host_ip is None or port.host_ip.family is family:
                    where = port.host_ip.value if port.host_ip is not None else 0
                    self._published[port.protocol, where].add(port.host_port)
        self._known: dict[tuple[frozenset[int], ...], HostPorts] = {}

    def at(self, protocol: Protocol, ip: Ip) -> HostPorts:
        """The ports at one of the host's addresses; equal answers are one object."""
        opened = self._at(self._opened, protocol, ip)
        published = self._at(self._published, protocol, ip) if self._proxies else frozenset()
        bound = frozenset(self._opened.get((protocol.value, ip.value), ()))
        key = (opened, published, bound)
        if key not in self._known:
            self._known[key] = self._ports(opened, published & opened if self._captured else published, bound)
        return self._known[key]

    def _at(self, ports: dict[tuple[str, int], set[int]], protocol: Protocol, ip: Ip) -> frozenset[int]:
        return frozenset(ports.get((protocol.value, 0), set()) | ports.get((protocol.value, ip.value), set()))

    def _ports(self, opened: frozenset[int], proxied: frozenset[int], bound: frozenset[int]) -> HostPorts:
        here, taken = tuple(runs(bound)), tuple(runs(proxied))
        if self._captured and self._alone:
            return HostPorts(tuple(runs(opened - proxied)), here, taken)
        edges = [0, *sorted(proxied), _END]
        own = tuple((low + 1, high - 1) for low, high in itertools.pairwise(edges) if low + 1 < high)
        return HostPorts(own, here, taken)
