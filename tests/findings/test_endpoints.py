"""Checks of Docker's own books."""

from __future__ import annotations

from tests.altered import Change, altered_snapshot, container, items, network, status, whole
from tests.findings.asking import every_finding, found, only
from tests.loading import snapshot_of

SEED = "seed-d29"


def test_an_endpoint_without_a_container() -> None:
    def orphan(n: dict[str, dict[str, object]]) -> None:
        n["Containers"]["ep-5d1f"] = {"Name": "old", "EndpointID": "5d1f", "IPv4Address": "172.18.0.9/16"}

    finding = only(list(every_finding(altered_snapshot(SEED, network("test_net1", orphan)))))
    assert (finding.code, finding.subject) == ("stale-endpoint", "old (test_net1)")
    assert finding.command == "docker network disconnect -f test_net1 old"
    assert finding.evidence[0].text == "network test_net1"


def test_endpoints_of_swarm_and_of_new_containers_are_not_stale() -> None:
    """Load balancers have no container, and one may start between two questions to the engine."""
    assert not every_finding(snapshot_of("overlay_A-d29"))

    def newcomer(n: dict[str, dict[str, object]]) -> None:
        n["Containers"]["f" * 64] = {"Name": "new", "EndpointID": "1", "IPv4Address": "172.18.0.9/16"}

    assert not every_finding(altered_snapshot(SEED, network("test_net1", newcomer)))


def test_a_join_that_leads_nowhere() -> None:
    gone = container("redis", lambda c: c["HostConfig"].update(NetworkMode="container:" + "0" * 64))
    finding = only(found(altered_snapshot(SEED, gone), "stale-join"))
    assert finding.subject == "redis"
    assert finding.evidence[0].text == "container redis"
    ended = only(found(altered_snapshot(SEED, status("ng", "exited")), "stale-join"))
    assert [e.text for e in ended.evidence] == ["container redis", "container ng"]


def test_a_join_to_a_stack_of_before() -> None:
    lo = '[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"addr_info":[]}]'
    finding = only(list(every_finding(altered_snapshot(SEED, whole("containers/redis/ip-addr.json", lo)))))
    assert (finding.code, finding.subject) == ("stale-join", "redis")
    assert finding.evidence[0].file.endswith("/ip-addr.json")
    assert not every_finding(snapshot_of(SEED))


def test_paused() -> None:
    finding = only(list(every_finding(snapshot_of("stopped-d28"))))
    assert (finding.code, finding.subject, finding.command) == ("container-paused", "paused", "docker unpause paused")


def test_restarting() -> None:
    finding = only(found(altered_snapshot(SEED, status("lonely", "restarting")), "container-restarting"))
    assert finding.subject == "lonely"


def without_network(name: str) -> Change:
    return items("docker/networks.json", lambda listed: listed.remove(next(n for n in listed if n["Name"] == name)))


def test_a_network_that_is_gone() -> None:
    finding = only(found(altered_snapshot("stopped-d28", without_network("na")), "network-gone"))
    assert finding.subject == "never (na)"  # those that run may be newer than the list, and `gone` has ended
    anew = network("test_net2", lambda n: n.update(Id="f" * 64))
    remade = only(found(altered_snapshot(SEED, anew, status("modest_swartz", "created")), "network-gone"))
    assert remade.subject == "modest_swartz (test_net2)"
    assert "made anew" in remade.text
    assert not found(altered_snapshot(SEED, status("modest_swartz", "created")), "network-gone")
