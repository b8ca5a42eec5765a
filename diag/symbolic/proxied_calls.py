"""Flows to published ports that docker-proxy takes: which of them it answers, and which answers get back to the caller."""

from __future__ import annotations

from collections.abc import Iterator

from diag.model.docker import Container, PublishedPort
from diag.model.flow import Protocol
from diag.symbolic.calls import Ground
from diag.symbolic.kinds import Kind, Kinds
from diag.symbolic.stack_calls import StackCalls


class ProxiedCalls(StackCalls):
    """docker-proxy accepts a TCP caller before it calls the container; of UDP what it gets from there is the answer."""

    def __init__(self, ground: Ground, called: StackCalls, from_host: Kinds) -> None:
        super().__init__(ground)
        self.proxied, self.unbound = called.proxied, called.unbound
        self._reached = self.space.union(flows for kind, flows in from_host if kind.delivered)
        """What the host itself calls and gets an answer from; sources are meaningless."""

    def solve(self) -> Kinds:
        """The flows that there are, by kind."""
        if self.proxied == self.space.empty:
            return ()
        self.give_up(self.proxied & self.space.protocol[Protocol.UDP] & ~self.space.ports(tuple(self._served())))
        taken = self.from_called(self.proxied & ~self.unclear)
        answered = self.answered(taken, self.space.empty)
        self.add(Kind(delivered=True, proxied=True), answered & ~self.doubtful)
        self.give_up(answered & self.doubtful)
        return self.found(self.proxied)

    def _served(self) -> Iterator[tuple[int, int]]:
        """UDP ports of the host of which, whichever of its addresses is called, a container answers."""
        asked: dict[int, bool] = {}
        for container in self.ground.snapshot.containers:
            for port in container.ports:
                if port.protocol == Protocol.UDP.value:
                    served = asked.get(port.host_port, True) and self._serves(container, port)
                    asked[port.host_port] = served
        return ((port, port) for port, served in asked.items() if served)

    def _serves(self, container: Container, port: PublishedPort) -> bool:
        """Whether the host's own call gets there, to the address that docker-proxy is told."""
        address = next((e.ip or e.ip6 for e in container.endpoints if e.ip or e.ip6), None)
        number = self.pairs.number_of(address) if address is not None else None
        if number is None:
            return False
        there = self.space.destinations(number, number) & self.space.protocol[Protocol.UDP]
        return (
            there & self.space.ports(((port.container_port, port.container_port),)) & self._reached != self.space.empty
        )
