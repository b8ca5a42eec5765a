"""Files that end too soon or hold a line that makes no sense: what was lost makes verdicts unknown, never wrong."""

from __future__ import annotations

import functools
import itertools
import json

import pytest
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.findings.registry import find_all
from diag.interpreter.trace import Tracer
from diag.model.address import Family
from diag.model.bundle import Bundle
from diag.model.flow import Flow, Protocol
from diag.model.netns import PolicyRule, RouteType
from diag.model.reasons import Disposition
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import analyse
from tests.altered import altered_snapshot
from tests.altered import whole as whole_file
from tests.loading import bundle_path, snapshot_of

NAME = "ipv6-d20"
FILES = ("ip-rule.json", "ip6-rule.json", "ip-route.json", "ip6-route.json", "ip-addr.json")


@functools.cache
def bundle() -> Bundle:
    return read_bundle(str(bundle_path(NAME)))


def damaged(path: str, content: bytes) -> Snapshot:
    return build_snapshot(replace(bundle(), files={**bundle().files, path: content}))


def fates(snapshot: Snapshot, flows: tuple[Flow, ...]) -> list[Disposition]:
    tracer = Tracer(snapshot)
    return [tracer.trace(flow).disposition for flow in flows]


@functools.cache
def expected() -> dict[Flow, Disposition]:
    """Every container's calls to every other, and to the host."""
    snapshot = build_snapshot(bundle())
    ids = [netns for netns in dict.fromkeys(snapshot.netns_of.values()) if netns != "host"]
    addresses = [a.ip for netns in (*ids, "host") for link in snapshot.netns[netns].links or () for a in link.addresses]
    calls = itertools.product(ids, (ip for ip in addresses if not ip.is_loopback and not ip.is_link_local))
    flows = tuple(Flow(netns, ip, Protocol.TCP, 80) for netns, ip in calls)
    return dict(zip(flows, fates(snapshot, flows), strict=True))


def folders() -> list[str]:
    return ["host", next(path.rpartition("/")[0] for path in sorted(bundle().files) if path.startswith("containers/"))]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", folders())
@pytest.mark.parametrize("part", [0.1, 0.4, 0.6, 0.9])
def test_a_file_that_ends_too_soon(folder: str, name: str, part: float) -> None:
    path = f"{folder}/{name}"
    content = bundle().files[path]
    snapshot = damaged(path, content[: int(part * len(content))])
    assert any(gap.file == path for gap in snapshot.gaps)
    flows = tuple(expected())
    found = fates(snapshot, flows)
    assert not [
        (flow, was, now)
        for (flow, was), now in zip(expected().items(), found, strict=True)
        if now not in (was, Disposition.UNKNOWN)
    ]


@pytest.mark.parametrize("name", ["macvlan-d29", "overlay_A-d29", "seed-d29"])
def test_nobody_is_called_absent_whose_links_are_lost(name: str) -> None:
    whole = snapshot_of(name)
    called = next(c for c in whole.containers if c.endpoints and c.endpoints[0].ip and c.running)
    netns = whole.netns_of[called.name]
    snapshot = altered_snapshot(name, whole_file(f"containers/{called.name}/ip-addr.json", '[{"ifname": "eth0", '))
    flows = tuple(
        Flow(other, called.endpoints[0].ip, Protocol.ICMP)
        for other in dict.fromkeys(whole.netns_of.values())
        if other != netns and called.endpoints[0].ip
    )
    pairs = zip(fates(whole, flows), fates(snapshot, flows), strict=True)
    assert all(now in (was, Disposition.UNKNOWN) for was, now in pairs)
    assert Disposition.UNKNOWN in fates(snapshot, flows)


def test_own_addresses_stay_known() -> None:
    snapshot = damaged("host/ip-route.json", bundle().files["host/ip-route.json"][:-40])
    local = next(r for r in snapshot.netns["host"].routes[Family.IPV4] or () if r.type is RouteType.LOCAL)
    rules = snapshot.netns["host"].rules[Family.IPV4] or ()
    assert rules[0] == PolicyRule(0, "lookup", "local", evidence=rules[0].evidence)
    assert Tracer(snapshot).world.fib("host", Family.IPV4).is_local(local.destination.value)


def test_a_namespace_without_rules_has_the_usual_ones() -> None:
    for content in (b"", b"[]"):
        assert damaged("host/ip-rule.json", content).netns["host"].rules[Family.IPV4] is None


def test_checks_do_not_find_that_lost_routes_are_missing() -> None:
    folder = folders()[1]
    routes = json.loads(bundle().files[f"{folder}/ip-route.json"])
    kept = json.dumps([route for route in routes if route.get("dst") != "default"]).encode()
    for content, found in ((kept, True), (kept[:-3], False)):
        findings = find_all(analyse(damaged(f"{folder}/ip-route.json", content)))
        assert ("no-default-route" in {finding.code for finding in findings}) is found
