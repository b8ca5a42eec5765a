"""`diag explain`, in process: pairs, flows, names, addresses, as text and as JSON."""

from __future__ import annotations

import pytest

from diag.errors import UsageError
from diag.model.reasons import Reachability, Reason
from diag.reach.explanation import explain
from diag.report.explanation import explanation_json, explanation_text
from tests.loading import apart, snapshot_of

SEED = snapshot_of("seed-d20")
PUBLISHED = snapshot_of("published-d29")


def test_one_flow_that_arrives_where_nobody_listens() -> None:
    result = explain(SEED, "ng1", "ng2", protocol="tcp", port=80)
    assert result.reachability is Reachability.REACHABLE
    assert "Nothing listens there in the capture" in result.text
    document = explanation_json(result)
    assert (document["disposition"], document["symptom"]) == ("delivered", "ECONNREFUSED")


def test_one_flow_that_is_dropped() -> None:
    result = explain(SEED, "objective_blackburn", "goofy_swartz", protocol="icmp")
    assert (result.reachability, result.reason) == (Reachability.UNREACHABLE, Reason.ISOLATION)
    assert "The caller sees timeout." in result.text
    assert result.fixes


def test_a_name_as_destination() -> None:
    result = explain(SEED, "ng1", "ng2.test_net1", protocol="tcp", port=80)
    assert result.destination == "ng2"
    missing = explain(SEED, "ng3", "ng4.bridge", protocol="tcp", port=80)
    assert missing.reachability in (Reachability.UNREACHABLE, Reachability.UNKNOWN)
    scope = explain(SEED, "goofy_swartz", "nobody-has-this", protocol="udp", port=53)
    assert scope.reason is Reason.NAME_UNKNOWN


def test_an_address_as_destination() -> None:
    everything = explain(SEED, "ng1", "172.18.0.1")
    assert everything.reachability is Reachability.REACHABLE
    beyond = explain(SEED, "ng1", "198.51.100.7")
    assert beyond.reachability is Reachability.UNREACHABLE
    published = explain(PUBLISHED, "client_b", "172.18.0.1", protocol="tcp", port=8080)
    assert published.reachability is Reachability.REACHABLE
    assert published.reason in (Reason.PUBLISHED_PORT, Reason.DOCKER_PROXY)


def test_the_host_as_source() -> None:
    assert explain(SEED, "@host", "ng1", protocol="tcp", port=80).reachability is Reachability.REACHABLE


def test_text_for_a_terminal() -> None:
    text = explanation_text(explain(SEED, "objective_blackburn", "goofy_swartz"))
    assert text.startswith("objective_blackburn → goofy_swartz: NO (isolation)")
    assert "decided by host/iptables-save.txt:" in text
    assert "docker network connect test_net2 objective_blackburn" in text
    assert "127.0.0.11" not in text
    assert "there:" in text
    works = explanation_text(explain(SEED, "ng1", "ng2"))
    assert "YES (same-bridge)" in works
    assert "by Docker's DNS" in works
    assert "Nothing listens in ng2" in works


def test_listeners_have_their_evidence() -> None:
    listed = explanation_json(explain(SEED, "ng1", "onhost"))["listeners"]
    assert {"tcp"} == {listener["protocol"] for listener in listed}
    assert all("proc-net-tcp" in listener["evidence"]["file"] for listener in listed)


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="there is no container"):
        explain(SEED, "nobody", "ng1")
    with pytest.raises(UsageError, match="same container"):
        explain(SEED, "ng1", "ng1")
    with pytest.raises(UsageError, match="not running"):
        explain(snapshot_of("stopped-d28"), "gone", "198.51.100.1", protocol="icmp")


def test_a_stopped_container() -> None:
    names = [c.name for c in snapshot_of("stopped-d28").containers if not c.running]
    running = [c.name for c in snapshot_of("stopped-d28").containers if c.status == "running"]
    for name in names:
        result = explain(snapshot_of("stopped-d28"), running[0], name)
        assert (result.reachability, result.reason) == (Reachability.UNREACHABLE, Reason.NOT_RUNNING)
        assert "is not running" in result.text


@pytest.mark.parametrize(
    "name",
    ["broken_links-d20", apart("published-d29nft"), apart("user_rules-d29"), "forward_off-d29", apart("ipv6-d20")],
)
def test_every_pair_of_every_fault_has_a_sentence(name: str) -> None:
    snapshot = snapshot_of(name)
    for source in snapshot.containers:
        for destination in snapshot.containers:
            if source.name != destination.name:
                result = explain(snapshot, source.name, destination.name)
                assert result.text.startswith((source.name, "Whether"))
                assert "None" not in result.text
                assert ": ." not in result.text
                assert explanation_json(result)["paths"]


def test_a_broken_link_is_called_by_its_name() -> None:
    snapshot = snapshot_of("broken_links-d20")
    down, alone = explain(snapshot, "nogw", "ethdown"), explain(snapshot, "nogw", "nomaster")
    assert "eth0 of ethdown is down" in down.text
    assert (alone.reason, "of the host is on no bridge" in alone.text) == (Reason.NO_BRIDGE_PORT, True)
