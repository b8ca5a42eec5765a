"""Expectations judged: by a naive loop over all pairs, and on real captures."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.model.analysis import Allowed, Analysis, Group, Path, PortSet
from diag.model.reasons import Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.policy.judge import judge
from diag.policy.model import Deny, Only, Policy, Reach, Selector
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.reach.beyond import HOST, RESERVED, WORLD
from diag.reach.groups import group_pairs
from diag.reach.pairs import PairFacts, PathFacts
from diag.reach.windows import port_set
from tests.hosts import Host
from tests.loading import COVERING, analysis_of, apart
from tests.policy.policies import judged, one

# Against a loop over pairs, of flows out of three ranges of ports each

RANGES = ((1, 79), (80, 80), (81, 65535))
FLOWS = ("icmp", *(f"{protocol}{number}" for protocol in ("tcp", "udp") for number in range(3)))
NAMES = ("a", "b", "c", "d")
Flows = frozenset[str]
FLOW_SETS = st.frozensets(st.sampled_from(FLOWS)) | st.just(frozenset(FLOWS)) | st.just(frozenset[str]())


def ports(flows: Iterable[str], protocol: str) -> PortSet:
    return port_set([RANGES[int(flow[3:])] for flow in flows if flow.startswith(protocol)])


def traffic(flows: Flows) -> Traffic:
    return Traffic("icmp" in flows, ports(flows, "tcp"), ports(flows, "udp"))


def allowed(known: Flows, unknown: Flows) -> Allowed:
    icmp = True if "icmp" in known else None if "icmp" in unknown else False
    rest = unknown - known
    return Allowed(icmp, ports(known, "tcp"), ports(known, "udp"), ports(rest, "tcp"), ports(rest, "udp"))


BEHAVIOURS = st.lists(st.tuples(FLOW_SETS, FLOW_SETS), min_size=1, max_size=2)
"""What one pair may do at each address: known, unknown."""
ENDS = (*NAMES, *RESERVED)
PAIRS = [(a, b) for a, b in product(ENDS, ENDS) if a != b]
Behaviour = list[tuple[Flows, Flows]]


@st.composite
def hosts(draw: st.DrawFn) -> tuple[Analysis, dict[tuple[str, str], Behaviour]]:
    """An analysis whose pairs are in groups, and what each pair does."""
    kinds = draw(st.lists(BEHAVIOURS, min_size=1, max_size=3))
    does = {pair: draw(st.sampled_from(kinds)) for pair in PAIRS}
    plain = grouped({pair: does[pair] for pair in PAIRS if RESERVED_ENDS.isdisjoint(pair)})
    others = grouped({pair: does[pair] for pair in PAIRS if not RESERVED_ENDS.isdisjoint(pair)})
    return Analysis(SNAPSHOT, (), plain, others, (), ()), does


def grouped(does: dict[tuple[str, str], Behaviour]) -> tuple[Group, ...]:
    """As real pairs are."""
    facts = (
        PairFacts(
            *pair,
            Reachability.UNKNOWN,
            tuple(PathFacts(None, Reachability.UNKNOWN, allowed(*each), Reason.ROUTED, None) for each in behaviour),
        )
        for pair, behaviour in does.items()
    )
    return tuple(
        Group(
            found.sources,
            found.destinations,
            Reachability.UNKNOWN,
            tuple(Path("", "", "", p.reachability, p.allowed, p.reason, None, "") for p in found.example.paths),
            (found.example.source, found.example.destination),
        )
        for found in group_pairs(facts)
    )


RESERVED_ENDS = frozenset(RESERVED)


def stopped() -> Snapshot:
    """A host of containers that do nothing themselves."""
    host = Host().network("n", "10.0.0.0/24")
    for name in NAMES:
        host = host.container(name, *("n" if name in "abc" else ""), status="exited")
    snapshot = host.snapshot()
    projects = tuple(
        replace(c, compose_project="p", compose_service="x" if c.name in "ab" else "y") for c in snapshot.containers
    )
    return replace(snapshot, containers=projects)


SNAPSHOT = stopped()


SELECTORS = st.sampled_from(
    [
        *(Selector(name) for name in (*NAMES, "*", "[ab]", *RESERVED)),
        Selector(project="p", service="x"),
        Selector(network="n"),
    ]
)
FITTED = {"*": NAMES, "[ab]": ("a", "b")}
LISTS = st.lists(SELECTORS, min_size=1, max_size=2).map(tuple)


def named(selectors: Iterable[Selector]) -> set[str]:
    """What they fit, told by hand."""
    found: set[str] = set()
    for selector in selectors:
        if selector.name:
            found.update(FITTED.get(selector.name, (selector.name,)))
        else:
            found.update("ab" if selector.project else "abc")
    return found


@st.composite
def expectations(draw: st.DrawFn) -> Reach | Deny | Only:
    flows = draw(FLOW_SETS.filter(bool))
    sources, destinations = draw(LISTS), draw(LISTS)
    match draw(st.integers(0, 3)):
        case 0:
            return Reach(id="x", sources=sources, destinations=destinations)
        case 1:
            return Reach(id="x", sources=sources, destinations=destinations, traffic=traffic(flows))
        case 2:
            return Deny(id="x", sources=sources, destinations=destinations, traffic=traffic(flows))
        case _:
            return Only(id="x", sources=draw(LISTS | st.just(())), destinations=destinations, traffic=traffic(flows))


def naive(expected: Reach | Deny | Only, does: dict[tuple[str, str], Behaviour]) -> dict[tuple[str, str], bool | None]:
    """What holds of each pair."""
    sources, destinations = named(expected.sources), named(expected.destinations)
    if isinstance(expected, Only):
        sources = {*NAMES, WORLD} - sources
    found: dict[tuple[str, str], bool | None] = {}
    for pair in PAIRS:
        if pair[0] in sources and pair[1] in destinations:
            known = frozenset(flow for allows, _ in does[pair] for flow in allows)
            unknown = frozenset(flow for _, maybe in does[pair] for flow in maybe) - known
            asked = [flow for flow in FLOWS if traffic(frozenset([flow])) & (expected.traffic or ALL_TRAFFIC)]
            found[pair] = of_pair(expected, known, unknown, asked)
    return found


def of_pair(expected: Reach | Deny | Only, known: Flows, unknown: Flows, asked: list[str]) -> bool | None:
    states = [True if flow in known else None if flow in unknown else False for flow in asked]
    if isinstance(expected, Reach) and expected.traffic is None:
        return True if True in states else None if None in states else False
    if isinstance(expected, Reach):
        return False if False in states else None if None in states else True
    return False if True in states else None if None in states else True


@pytest.mark.apart
@settings(max_examples=60)
@given(hosts(), expectations())
def test_as_a_loop_over_all_pairs(host: tuple[Analysis, dict[tuple[str, str], Behaviour]], expected: Reach) -> None:
    analysis, does = host
    (found,) = judge(policy(expected), analysis, fixes=False)
    truth = naive(expected, does)
    if not truth and not isinstance(expected, Only):
        assert (found.held, found.failed) == (False, 0)
        return
    held = False if False in truth.values() else None if None in truth.values() else True
    assert found.held is held
    assert found.failed == (0 if held else sum(each is held for each in truth.values()))
    assert held or truth[found.subject] is held
    assert bool(found.explanation) == (held is not True)


def policy(expected: Reach | Deny | Only) -> Policy:
    match expected:
        case Reach():
            return Policy("p.yaml", reach=(expected,))
        case Deny():
            return Policy("p.yaml", deny=(expected,))
        case Only():
            return Policy("p.yaml", only=(expected,))


# On real captures


@pytest.mark.parametrize("capture", [*sorted(COVERING), apart("macvlan-d29"), apart("random_2-d28")])
def test_each_example_of_a_capture_is_as_its_group_says(capture: str) -> None:
    analysis = analysis_of(capture)
    groups = (*analysis.groups, *analysis.endpoints)
    ends = [((Selector(group.example[0]),), (Selector(group.example[1]),)) for group in groups]
    wanted = tuple(Reach(id=str(n), sources=a, destinations=b) for n, (a, b) in enumerate(ends))
    refused = tuple(Deny(id=str(n), sources=a, destinations=b) for n, (a, b) in enumerate(ends))
    found = judge(Policy("p.yaml", reach=wanted, deny=refused), analysis, fixes=False)
    for group, reach, deny in zip(groups, found, found[len(groups) :], strict=False):
        reached = group.reachability in (Reachability.REACHABLE, Reachability.PARTIAL)
        if group.reachability is not Reachability.UNKNOWN:
            assert (reach.held, deny.held) == (reached, not reached)
        for each in (reach, deny):
            if not each.held:
                assert each.subject == group.example
                assert all(name in each.explanation for name in group.example)


SEED = """
    reach:
      - {from: objective_blackburn, to: goofy_swartz}
    deny:
      - {from: ng1, to: ng2, ports: tcp/80}
      - {from: {network: test_net1}, to: {network: test_net2}}
    only:
      - {to: ng2, from: [{network: test_net1}, onhost]}
      - {to: ng2, from: ng1}
    """


def test_a_broken_one_explains_itself() -> None:
    reach, _, _, _, _ = judged(SEED, analysis_of("seed-d20"))
    assert reach.held is False
    assert (reach.subject, reach.failed, reach.line) == (("objective_blackburn", "goofy_swartz"), 1, 4)
    assert "they share no network" in reach.explanation
    assert reach.evidence is not None
    assert reach.evidence.file.startswith("host/")
    assert [fix.command for fix in reach.fixes] == [
        "docker network connect test_net2 objective_blackburn",
        "docker network connect test_net1 goofy_swartz",
    ]
    assert reach.fixes[0].note == "It goes against deny[2] of the same policy."


def test_what_is_let_through_is_told_by_what_lets_it() -> None:
    _, deny, apart, only, narrow = judged(SEED, analysis_of("seed-d28"))
    assert (deny.held, apart.held, only.held, narrow.held) == (False, True, True, False)
    assert deny.explanation.startswith("ng1 reaches ng2 at 172.18.0.4 on tcp 80: both are on test_net1")
    assert deny.evidence is not None
    assert deny.evidence.text.endswith("-j ACCEPT")
    assert not deny.fixes
    assert narrow.failed == 2


def test_one_port_of_many() -> None:
    analysis = analysis_of("user_rules-d29")
    found = one("reach: [{from: web, to: api, ports: [tcp/80, tcp/5432]}]", analysis)
    assert found.held is False
    assert "tcp port 5432" in found.explanation
    assert found.evidence is not None
    assert "5432" in found.evidence.text
    assert one("reach: [{from: web, to: api, ports: tcp/80}]", analysis).held
    assert one("deny: [{from: web, to: api, ports: tcp/5432}]", analysis).held
    left = one("deny: [{from: web, to: api, except: [tcp, icmp]}]", analysis)
    assert "on udp all" in left.explanation


def test_a_fix_opens_what_is_expected() -> None:
    found = one("reach: [{from: web, to: api, ports: tcp/5432}]", analysis_of("user_rules-d20"))
    assert all(fix.effect is Reachability.REACHABLE for fix in found.fixes)


@pytest.mark.parametrize("capture", ["published-d20", "published-d29nft"])
def test_the_host_and_the_world(capture: str) -> None:
    analysis = analysis_of(capture)
    exposed, _ = judged('reach: [{from: "@host", to: pub_any}]\ndeny: [{from: "@host", to: pub_any}]', analysis)
    assert exposed.held
    closed = one('reach: [{from: "@world", to: pub_any, ports: tcp/8080}]', analysis)
    assert closed.held is False
    assert "uplink" in closed.explanation
    assert closed.subject == (WORLD, "pub_any")
    reached = one(f'deny: [{{from: client_a, to: "{HOST}"}}]', analysis)
    assert reached.held is False
    assert not reached.fixes


def test_a_selector_that_fits_nothing_fails() -> None:
    analysis = analysis_of("seed-d28")
    broken = one("deny: [{from: gone-*, to: ng1}]", analysis)
    assert (broken.held, broken.explanation, broken.failed) == (False, "no container fits gone-*.", 0)
    silent = one("deny: [{from: gone-*, to: ng1, optional: true}]", analysis)
    assert (silent.held, silent.explanation) == (True, "It says nothing here: no container fits gone-*.")
    few = one("only: [{to: ng1, from: {name: ng*, min: 99}}]", analysis)
    assert "of at least 99" in few.explanation
    itself = one("reach: [{from: ng1, to: ng1}]", analysis)
    assert (itself.held, itself.explanation) == (False, "Both sides are one container: it is about no pair.")


def test_stopped_containers_do_not_reach_anything() -> None:
    analysis = analysis_of("stopped-d28")
    stopped = next(c.name for c in analysis.snapshot.containers if not c.running)
    found = one(f'reach: [{{from: "*", to: "{stopped}"}}]', analysis)
    assert found.held is False
    assert "not running" in found.explanation
    assert one(f'deny: [{{from: "*", to: "{stopped}"}}]', analysis).held
