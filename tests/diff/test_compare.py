"""What is said of two captures: all that somebody did, each as one change, and what flipped each verdict."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.diff.compare import compare, unchanged
from diag.model.analysis import Analysis
from diag.model.difference import ChangeKind, Difference
from diag.model.netns import Socket
from diag.model.reasons import Reachability
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.pipeline import analyse_snapshot, compare_analyses
from diag.reach.analysis import analyse
from diag.reach.whatif import change_link, change_netns
from tests.altered import altered_snapshot, edited
from tests.diff.scrambled import scrambled
from tests.hosts import Host
from tests.loading import EACH_CAPTURE, analysis_of, bundle_path, snapshot_of

SEED = "seed_connected-d20"
SAVE = "host/iptables-save.txt"


@functools.cache
def files_of(name: str) -> Mapping[str, bytes]:
    return read_bundle(str(bundle_path(name))).files


def altered(
    file: str, change: Callable[[str], str], name: str = SEED, then: Callable[[Snapshot], Snapshot] = lambda s: s
) -> Analysis:
    """A capture with one of its files changed."""
    return analyse(then(altered_snapshot(name, edited(file, change))))


def told(found: Difference) -> list[tuple[str, str]]:
    return [(change.subject, change.text) for change in found.changes]


def explained(found: Difference) -> bool:
    """Whether each flip has a cause that is among the changes."""
    return all(flip.because and set(flip.because) <= set(found.changes) for flip in found.flips)


def pairs(found: Difference) -> set[tuple[str, str]]:
    return {(s, d) for flip in found.flips for s in flip.sources for d in flip.destinations if s != d}


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_a_capture_is_as_itself(name: str) -> None:
    found = compare(analysis_of(name), analysis_of(name))
    assert found.nothing
    assert found.restarted == ()


def test_counters_and_neighbours_are_no_facts() -> None:
    def later(snapshot: Snapshot) -> Snapshot:
        return change_netns(snapshot, "host", lambda space: replace(space, neighbours=()))

    counted = altered(SAVE, lambda text: re.sub(r"\[\d+:\d+\]", "[7:7]", text), "published-d20", later)
    assert compare(analysis_of("published-d20"), counted).nothing


def test_a_rule_of_the_users() -> None:
    rule = "-A DOCKER-USER -i docker0 -o docker0 -j DROP"
    after = altered(SAVE, lambda text: text.replace("[0:0] -A DOCKER-USER", f"[0:0] {rule}\n[0:0] -A DOCKER-USER"))
    found = compare(analysis_of(SEED), after)
    assert told(found) == [("rules of filter DOCKER-USER", f"rule 1 added: {rule}.")]
    change = found.changes[0]
    assert change.kind is ChangeKind.ADDED
    assert change.after is not None
    assert (change.after.file, change.after.text) == (SAVE, rule)
    assert change.after.line == 1 + files_of(SEED)[SAVE].decode().split("\n").index("[0:0] -A DOCKER-USER -j RETURN")
    assert {flip.after for flip in found.flips} == {Reachability.UNREACHABLE}
    assert explained(found)
    on_bridge = {"mysql1", "ng", "ng3", "ng4", "redis", "tomcat1"}
    stack = {"ng", "redis"}
    assert pairs(found) == {(a, b) for a in on_bridge for b in on_bridge if a != b and {a, b} != stack}
    back = compare(after, analysis_of(SEED))
    assert told(back) == [("rules of filter DOCKER-USER", f"rule 1 removed: {rule}.")]
    assert pairs(back) == pairs(found)
    assert {flip.after for flip in back.flips} == {Reachability.REACHABLE}


def test_a_flush_is_one_change() -> None:
    def flushed(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if " -A " not in line)

    found = compare(analysis_of(SEED), altered(SAVE, flushed))
    lines = files_of(SEED)[SAVE].decode()
    assert told(found) == [("rules of filter, nat", f"All {lines.count(' -A ')} rules of filter, nat are gone.")]
    assert found.flips
    assert explained(found)


def test_forwarding_switched_off() -> None:
    def off(text: str) -> str:
        return re.sub(r"(ip_forward|\.forwarding) = 1", r"\1 = 0", text)

    name = "published-d20"
    found = compare(analysis_of(name), altered("host/sysctl.txt", off, name))
    assert told(found) == [("sysctl net.ipv4.ip_forward", "It is 0, it was 1.")]
    assert explained(found)


def test_a_policy() -> None:
    found = compare(analysis_of(SEED), altered(SAVE, lambda text: text.replace(":INPUT ACCEPT", ":INPUT DROP")))
    assert ("policy of filter INPUT", "The policy is DROP, it was ACCEPT.") in told(found)
    assert explained(found)


def test_the_order_of_rules_counts_where_it_is_not_dockers() -> None:
    def swapped(first: str, second: str) -> Callable[[str], str]:
        def swap(text: str) -> str:
            lines = text.split("\n")
            a, b = (next(n for n, line in enumerate(lines) if part in line) for part in (first, second))
            lines[a], lines[b] = lines[b], lines[a]
            return "\n".join(lines)

        return swap

    dockers = swapped("-A DOCKER -d 172.17.0.4/32 ! -i docker0", "-A DOCKER -d 172.17.0.5/32 ! -i docker0")
    assert compare(analysis_of(SEED), altered(SAVE, dockers)).nothing
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a")
    drop, accept = "-A FORWARD -p tcp -j DROP", "-A FORWARD -i br-a -o br-a -j ACCEPT"
    first, then = host.rules(f"{drop}\n{accept}").snapshot(), host.rules(f"{accept}\n{drop}").snapshot()
    found = compare(analyse(first), analyse(then))
    assert told(found) == [("rules of filter FORWARD", "The same rules are in another order.")]
    assert pairs(found) == {("web", "db"), ("db", "web")}
    assert explained(found)


# On facts, where their text has many forms


def changed(change: Callable[[Snapshot], Snapshot], name: str = SEED) -> Difference:
    return compare(analysis_of(name), analyse(change(snapshot_of(name))))


def veth_of(snapshot: Snapshot, container: str, index: int = 0) -> str:
    inside = [link for link in snapshot.netns[snapshot.netns_of[container]].links or () if link.name != "lo"][index]
    return next(k.name for k in snapshot.netns["host"].links or () if k.index == inside.peer_index)


def test_a_veth_down() -> None:
    veth = veth_of(snapshot_of(SEED), "ng1")
    found = changed(lambda s: change_link(s, "host", veth, lambda link: replace(link, up=False, carrier=False)))
    assert told(found) == [(f"link {veth} (veth of ng1)", f"{veth} (veth of ng1): its state is down, it was up.")]
    assert {flip.after for flip in found.flips} == {Reachability.UNREACHABLE}
    assert explained(found)
    assert all("ng1" in (*flip.sources, *flip.destinations) for flip in found.flips)


def test_a_listener_gone() -> None:
    from diag.model.address import Ip

    listener = Socket("tcp", Ip.parse("0.0.0.0"), 5432)
    client = Socket("udp", Ip.parse("0.0.0.0"), 40000)
    before = snapshot_of(SEED)
    netns = before.netns_of["mysql1"]
    with_it = change_netns(before, netns, lambda s: replace(s, sockets=(*(s.sockets or ()), listener, client)))
    found = compare(analyse(with_it), analysis_of(SEED))
    assert told(found) == [("listeners in mysql1", "nothing listens any more on tcp 5432.")]
    assert found.flips == ()


def test_what_came_with_a_network_and_a_container_is_told_with_them() -> None:
    found = compare(analysis_of("seed-d20"), analysis_of(SEED))
    assert [(c.kind, c.subject) for c in found.changes] == [
        (ChangeKind.CHANGED, "network test_net1"),
        (ChangeKind.ADDED, "network myBridge"),
        (ChangeKind.ADDED, "container tomcat2"),
        (ChangeKind.ADDED, "container objective_blackburn"),
    ]
    assert explained(found)
    assert {n.name for n in found.names} == {"objective_blackburn", "goofy_swartz", "modest_swartz"}
    back = compare(analysis_of(SEED), analysis_of("seed-d20"))
    assert {c.subject for c in back.changes} == {c.subject for c in found.changes}
    assert {(f.sources, f.destinations, f.after, f.before) for f in back.flips} == {
        (f.sources, f.destinations, f.before, f.after) for f in found.flips
    }


def made_anew(snapshot: Snapshot) -> Snapshot:
    """With other ids of containers."""
    ids = {c.short_id: f"a{c.short_id[1:]}" for c in snapshot.containers}
    spaces = {ids.get(k, k): replace(space, id=ids.get(k, k)) for k, space in snapshot.netns.items()}
    return replace(
        snapshot,
        containers=tuple(replace(c, id=f"a{c.id[1:]}", hostname=f"a{c.hostname[1:]}") for c in snapshot.containers),
        netns=MappingProxyType(spaces),
        netns_of=MappingProxyType({name: ids.get(k, k) for name, k in snapshot.netns_of.items()}),
    )


def test_an_address_that_somebody_relies_on_is_a_fact() -> None:
    """`docker run` in another order: two containers have changed their addresses, and a rule names one of them."""
    drop = "-A FORWARD -d 10.1.0.10 -j DROP"
    two = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a").container("job", "a")
    swapped = Host().network("a", "10.1.0.0/24").container("db", "a").container("web", "a").container("job", "a")
    assert compare(analyse(two.snapshot()), analyse(made_anew(swapped.snapshot()))).nothing
    found = compare(analyse(two.rules(drop).snapshot()), analyse(made_anew(swapped.rules(drop).snapshot())))
    assert ("container web", "web is at 10.1.0.11 on a, it was at 10.1.0.10.") in told(found)
    assert ("container db", "db is at 10.1.0.10 on a, it was at 10.1.0.11.") in told(found)
    assert len(found.changes) == 2
    assert pairs(found) == {("job", "web"), ("web", "job"), ("job", "db"), ("db", "job")}


def test_two_facts_that_only_flip_a_verdict_together() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")
    rules = "-A FORWARD -i br-a -o br-b -j DROP\n"
    before = host.rules(rules).sysctl(net__ipv4__ip_forward="0")
    found = compare(analyse(before.snapshot()), analyse(host.rules("").snapshot()))
    flip = next(f for f in found.flips if {"web", "db"} <= {*f.sources, *f.destinations})
    assert flip.because == ()
    assert {c.subject for c in flip.together} == {"rules of filter FORWARD", "sysctl net.ipv4.ip_forward"}


def test_what_was_not_captured_is_told() -> None:
    netns = snapshot_of(SEED).netns_of["ng1"]
    found = changed(lambda s: change_netns(s, netns, lambda space: replace(space, links=None)))
    assert [subject for subject, _ in told(found)] == ["capture in ng1"]
    assert {flip.after for flip in found.flips} == {Reachability.UNKNOWN}
    assert explained(found)


def test_the_pipeline_compares_what_is_analysed_already() -> None:
    assert compare_analyses(analysis_of(SEED), analysis_of(SEED)).nothing


@pytest.mark.apart
@pytest.mark.parametrize("name", ["ipv6-d20", "published-d29nft", "seed-d20", "user_rules-d20"])
def test_a_restart_may_need_no_second_analysis(name: str) -> None:
    bundle = read_bundle(str(bundle_path(name)))
    old, new = snapshot_of(name), build_snapshot(scrambled(bundle, Random(3)))  # noqa: S311  no secret
    whole = compare_analyses(analysis_of(name), analyse_snapshot(new))
    assert whole.nothing
    assert unchanged(old, new) == whole


def test_any_fact_that_changed_needs_one() -> None:
    old = snapshot_of(SEED)
    assert unchanged(old, old) == Difference(old.captured_at, old.captured_at)
    dropping = altered(SAVE, lambda text: text.replace("-A DOCKER-USER -j RETURN", "-A DOCKER-USER -j DROP"))
    assert unchanged(old, dropping.snapshot) is None
    assert unchanged(old, snapshot_of("seed-d20")) is None
