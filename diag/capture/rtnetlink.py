"""Links, addresses, routes, rules, neighbours and bridges of the calling thread's namespace, by rtnetlink (pyroute2).

Asked of the kernel directly, and not of `ip`, because `ip` may be missing or too old for `-j`; the output is in its
words all the same, see :mod:`diag.capture.iproute_json`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from diag.capture import iproute_json
from diag.capture.iproute_json import INET, INET6, Document, Message
from diag.capture.steps import Output, Step, UnavailableError

_SKIP_STATS = 8
"""RTEXT_FILTER_SKIP_STATS: a third of each answer, and nobody asks for it."""


class Tables:
    """The kernel's answers, each asked for once. To be used by one thread, in its namespace."""

    @functools.cached_property
    def _socket(self) -> Any:
        try:
            from pyroute2 import IPRoute
        except ImportError:
            raise UnavailableError("the Python package pyroute2 is not installed: pip install pyroute2") from None
        return IPRoute()

    def _ask(self, question: Callable[[Any], Iterable[Any]]) -> list[Message]:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return [Message(message) for message in question(self._socket)]
        except NetlinkError as error:
            raise UnavailableError(f"the kernel refuses the request: {error}") from None

    @functools.cached_property
    def links(self) -> list[Message]:
        return self._ask(lambda socket: socket.get_links(ext_mask=_SKIP_STATS))

    @functools.cached_property
    def names(self) -> dict[int, str]:
        return iproute_json.link_names(self.links)

    def addr_show(self) -> Document:
        return iproute_json.addr_show(self.links, self._ask(lambda socket: socket.get_addr()))

    def route_show(self, family: int) -> Document:
        routes = self._ask(lambda socket: socket.get_routes(family=family))
        return iproute_json.route_show(routes, self.names)

    def rule_show(self, family: int) -> Document:
        return iproute_json.rule_show(self._ask(lambda socket: socket.get_rules(family=family)))

    def neigh_show(self) -> Document:
        return iproute_json.neigh_show(self._ask(lambda socket: socket.get_neighbours()), self.names)

    def bridge_link_show(self) -> Document:
        return iproute_json.bridge_link_show(self.links)

    def bridge_fdb_show(self) -> Document:
        return iproute_json.bridge_fdb_show(self._ask(lambda socket: socket.fdb("dump")), self.names)

    def close(self) -> None:
        """Give the socket back; the answers stay."""
        if "_socket" in self.__dict__:
            self._socket.close()
            del self.__dict__["_socket"]


def steps(folder: str) -> tuple[Step, ...]:
    """What rtnetlink knows of a namespace, as files below `folder` (`host`, `containers/<id>`, `netns/<name>`)."""
    tables = Tables()

    def step(name: str, command: str, ask: Callable[[], Document], *, last: bool = False) -> Step:
        def run() -> Output:
            try:
                return Output(iproute_json.encode(ask()))
            finally:
                if last:
                    tables.close()

        return Step(f"{folder}/{name}.json", command, run)

    return (
        step("ip-addr", "ip -j -d addr show", tables.addr_show),
        step("ip-route", "ip -j -4 route show table all", lambda: tables.route_show(INET)),
        step("ip6-route", "ip -j -6 route show table all", lambda: tables.route_show(INET6)),
        step("ip-rule", "ip -j rule show", lambda: tables.rule_show(INET)),
        step("ip6-rule", "ip -j -6 rule show", lambda: tables.rule_show(INET6)),
        step("ip-neigh", "ip -j neigh show", tables.neigh_show),
        step("bridge-link", "bridge -j -d link show", tables.bridge_link_show),
        step("bridge-fdb", "bridge -j fdb show", tables.bridge_fdb_show, last=True),
    )
