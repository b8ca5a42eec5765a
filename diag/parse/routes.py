"""Routes: `ip -j route show table all`, `ip -j -6 route …`, and the same as text.

>>> sample = b'''default via 172.16.194.2 dev ens33 proto dhcp src 172.16.194.135 metric 100
... 172.19.0.0/16 dev br-c7c20444a940 proto kernel scope link src 172.19.0.1
... blackhole 10.9.0.0/16 metric 20
... '''
>>> for route in parse_routes_text(sample, "host/ip-route.txt", Family.IPV4).value:
...     print(route.type.value, route.destination, route.nexthops[0].dev if route.nexthops else "-", route.metric)
unicast 0.0.0.0/0 ens33 100
unicast 172.19.0.0/16 br-c7c20444a940 0
blackhole 10.9.0.0/16 - 20
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import Decoder

from diag.model.address import Family, Ip, Prefix
from diag.model.message import said, say
from diag.model.netns import Link, Nexthop, Route, RouteType
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import (
    Count,
    dict_of,
    json_items,
    list_of,
    number_of,
    object_of,
    one_on_each_line,
    struct_of,
    text_of,
)
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_AFFECTS = say("every flow that this namespace routes")
_TABLES = {"254": "main", "255": "local", "253": "default"}
_TYPES = {kind.value: kind for kind in RouteType}


def parse_routes_json(data: bytes, file: str, family: Family) -> Parsed[tuple[Route, ...]]:
    """Routes of one family; those of the other, which `table all` may list too, are left to its own file."""
    lines = one_on_each_line(data)
    if lines is not None:
        try:
            drafts = [_route_on_line(line, family) for line in lines]
        except (ValueError, RecursionError):  # whatever it is, below it becomes a gap
            pass
        else:
            return Parsed(
                tuple([d.at(file, number) for number, d in enumerate(drafts, 1) if d.facts[0].family is family])
            )
    items = json_items(data, file, _AFFECTS)
    routes, gaps = [], list(items.gaps)
    for item in items.value:
        try:
            draft = _route(_body(item.body), family)
        except ValueError as error:
            gaps.append(
                Gap(
                    GapKind.UNREADABLE,
                    file,
                    item.line,
                    say("a route is not understood: {error}", error=said(error)),
                    _AFFECTS,
                )
            )
            continue
        if draft.facts[0].family is family:
            routes.append(draft.at(file, item.line))
    return Parsed(tuple(routes), tuple(gaps))


class _Draft(NamedTuple):
    """A route that stands nowhere yet."""

    facts: tuple[Prefix, RouteType, str, tuple[Nexthop, ...], Ip | None, int, str, str]
    """The fields of a Route up to its evidence."""
    text: str

    def at(self, file: str, line: int) -> Route:
        return Route(*self.facts, Evidence(file, line, self.text))


class _Via(Struct):
    """A gateway of the other family."""

    host: str = ""


class _Leg(Struct):
    """What `ip -j` says of one way out."""

    dev: str = ""
    gateway: str = ""
    via: _Via | UnsetType = UNSET
    flags: list[Any] = field(default_factory=list)


class _Body(_Leg):
    """What it says of a route, and its way out if there is but one."""

    dst: str = ""
    type: str = ""
    table: Any = "main"
    nexthops: list[_Leg] = field(default_factory=list)
    prefsrc: str = ""
    metric: Count = 0
    scope: str = ""
    protocol: str = ""


_BODY = Decoder(_Body)


@lru_cache(maxsize=1 << 12)  # every namespace has the routes of lo
def _route_on_line(line: str, family: Family) -> _Draft:
    """Raises ValueError or RecursionError."""
    return _route(struct_of(_BODY, line) or _body(object_of(line)), family)


def _leg(raw: dict[str, Any]) -> _Leg:
    return _Leg(
        text_of(raw, "dev"),
        text_of(raw, "gateway"),
        _Via(text_of(dict_of(raw, "via"), "host")) if "via" in raw else UNSET,
        list_of(raw, "flags"),
    )


def _body(raw: dict[str, Any]) -> _Body:
    """Of an object with fields of any type."""
    leg = _leg(raw)
    return _Body(
        leg.dev,
        leg.gateway,
        leg.via,
        leg.flags,
        text_of(raw, "dst"),
        text_of(raw, "type"),
        raw.get("table", "main"),
        [_leg(other) for other in list_of(raw, "nexthops") if isinstance(other, dict)],
        text_of(raw, "prefsrc"),
        number_of(raw, "metric"),
        text_of(raw, "scope"),
        text_of(raw, "protocol"),
    )


def _route(body: _Body, family: Family) -> _Draft:
    """Raises ValueError."""
    destination = body.dst
    if not destination:
        raise ValueError(say("it has no destination"))
    gateway = _gateway(body)
    if gateway is not None and destination == "default" and body.via is UNSET:
        family = gateway.family
    nexthops = tuple([_nexthop(leg, _gateway(leg)) for leg in body.nexthops])
    if not nexthops and body.dev:
        nexthops = (_nexthop(body, gateway),)
    kind = body.type or "unicast"
    if kind not in _TYPES:
        raise ValueError(say("type {name}", name=repr(kind)))
    table = str(body.table)
    facts = (
        Prefix.parse(destination, family=family),
        _TYPES[kind],
        _TABLES.get(table, table),
        nexthops,
        Ip.parse(body.prefsrc) if body.prefsrc else None,
        body.metric,
        body.scope or "global",
        body.protocol,
    )
    return _Draft(facts, _text(kind, destination, nexthops, table))


def _gateway(leg: _Leg) -> Ip | None:
    text = leg.gateway or (leg.via.host if isinstance(leg.via, _Via) else "")
    return Ip.parse(text) if text else None


def _nexthop(leg: _Leg, gateway: Ip | None) -> Nexthop:
    return Nexthop(leg.dev, gateway, "dead" in leg.flags, "onlink" in leg.flags)


def _text(kind: str, destination: str, nexthops: tuple[Nexthop, ...], table: str) -> str:
    words = [] if kind == "unicast" else [kind]
    words.append(destination)
    for nexthop in nexthops:
        words += ["via", str(nexthop.gateway)] if nexthop.gateway else []
        words += ["dev", nexthop.dev] if nexthop.dev else []
    if table != "main":
        words += ["table", table]
    return " ".join(words)


def parse_routes_text(data: bytes, file: str, family: Family) -> Parsed[tuple[Route, ...]]:
    """`ip route`, also with `table all`; the legs of a multipath route follow on lines of their own."""
    gaps: list[Gap] = []
    routes: list[Route] = []
    for line, evidence in ticket_lines(data, file, gaps, _AFFECTS):
        words = line.split()
        try:
            if words[0] == "nexthop" and routes:
                last = routes[-1]
                routes[-1] = Route(
                    last.destination,
                    last.type,
                    last.table,
                    (*last.nexthops, _words_nexthop(words)),
                    last.prefsrc,
                    last.metric,
                    last.scope,
                    last.protocol,
                    last.evidence,
                )
            else:
                routes.append(_words_route(words, family, evidence))
        except (ValueError, IndexError):
            gaps.append(unreadable(evidence, "ip route", _AFFECTS))
    return Parsed(tuple(r for r in routes if r.destination.family is family), tuple(gaps))


def _after(words: list[str], key: str) -> str:
    return words[words.index(key) + 1] if key in words[:-1] else ""


def _words_nexthop(words: list[str]) -> Nexthop:
    via = _after(words, "via")
    if via in ("inet", "inet6"):
        via = words[words.index("via") + 2]
    return Nexthop(_after(words, "dev"), Ip.parse(via) if via else None, "dead" in words, "onlink" in words)


def _words_route(words: list[str], family: Family, evidence: Evidence) -> Route:
    kind = RouteType.UNICAST
    if words[0] in _TYPES:
        kind, words = _TYPES[words[0]], words[1:]
    destination = Prefix.parse(words[0], family=family)
    source, metric, table = _after(words, "src"), _after(words, "metric"), _after(words, "table")
    nexthops = (_words_nexthop(words),) if _after(words, "dev") or _after(words, "via") else ()
    return Route(
        destination,
        kind,
        table or "main",
        nexthops,
        Ip.parse(source) if source else None,
        int(metric) if metric.isdigit() else 0,
        _after(words, "scope") or "global",
        _after(words, "proto"),
        evidence,
    )


def local_routes(links: tuple[Link, ...], family: Family) -> tuple[Route, ...]:
    """The `local` table that the kernel keeps for these addresses, for captures that show the main table only."""
    routes = []
    for link in links:
        for address in link.addresses:
            if address.ip.family is not family or not link.up:
                continue
            prefix = Prefix.of(address.ip, family.bits)
            if family is Family.IPV4 and address.ip.is_loopback:
                prefix = address.prefix
            way = (Nexthop(link.name),)
            routes.append(
                Route(prefix, RouteType.LOCAL, "local", way, address.ip, scope="host", evidence=link.evidence)
            )
    return tuple(routes)
