"""The eleven points of the scenario that the project was created from, on a real capture."""

from __future__ import annotations

from diag.model.netns import LinkKind
from diag.model.reasons import Reachability, Reason, Via
from diag.names.resolver import Resolver
from diag.reach.analysis import Analyser
from diag.reach.explanation import explain
from tests.loading import analysis_of, snapshot_of

BEFORE, AFTER = "seed-d20", "seed_connected-d20"


def role(name: str) -> str:
    return next(i.role for i in analysis_of(BEFORE).interfaces if i.name == name)


def test_1_every_interface_has_a_role() -> None:
    roles = {i.name: i.role for i in analysis_of(BEFORE).interfaces}
    assert roles["lo"] == "loopback"
    assert roles["docker0"].startswith("bridge of the Docker network bridge")
    veths = [text for name, text in roles.items() if name.startswith("veth")]
    assert veths
    assert all("its other end is eth" in text for text in veths)


def test_2_the_predefined_networks_say_what_follows() -> None:
    roles = analysis_of(BEFORE).roles
    assert "no interface but lo" in roles["lonely"]
    assert "every port it opens is a port of the host" in roles["onhost"]


def test_3_a_container_is_a_port_of_its_bridge() -> None:
    snapshot = snapshot_of(BEFORE)
    world = Analyser(snapshot).tracer.world
    inside = next(k for k in snapshot.netns[snapshot.netns_of["ng"]].links or () if k.name == "eth0")
    host, veth = world.topology.peers[snapshot.netns_of["ng"], "eth0"]
    outside = world.link(host, veth)
    assert outside is not None
    assert (outside.master, outside.kind, outside.index) == ("docker0", LinkKind.VETH, inside.peer_index)
    bridge = snapshot.network("bridge")
    assert bridge is not None
    assert (str(bridge.ipam[0].subnet), str(bridge.ipam[0].gateway), bridge.icc) == (
        "172.17.0.0/16",
        "172.17.0.1",
        True,
    )


def test_4_custom_networks_have_their_bridges_and_subnets() -> None:
    snapshot = snapshot_of(BEFORE)
    first, second = snapshot.network("test_net1"), snapshot.network("test_net2")
    assert first is not None
    assert second is not None
    assert first.bridge_name == f"br-{first.id[:12]}"
    assert (str(second.ipam[0].subnet), str(second.ipam[0].gateway)) == ("173.20.0.0/16", "173.20.0.1")
    assert role(first.bridge_name).startswith("bridge of the Docker network test_net1")


def test_5_an_address_chosen_by_hand_is_known_as_such() -> None:
    container = snapshot_of(BEFORE).container("modest_swartz")
    assert container is not None
    assert (str(container.endpoints[0].ip), container.endpoints[0].fixed_ip) == ("173.20.0.4", True)
    assert any("modest_swartz" in note for note in analysis_of(BEFORE).notes)


def test_6_isolation_is_explained_with_its_rule_and_a_fix() -> None:
    snapshot = snapshot_of(BEFORE)
    assert explain(snapshot, "goofy_swartz", "modest_swartz").reachability is Reachability.REACHABLE
    result = explain(snapshot, "objective_blackburn", "goofy_swartz")
    assert (result.reachability, result.reason) == (Reachability.UNREACHABLE, Reason.ISOLATION)
    assert "they share no network, and Docker keeps test_net1 and test_net2 apart" in result.text
    assert "of DOCKER-ISOLATION-STAGE-2 drops it" in result.text
    decided = result.paths[0].decided_by
    assert decided is not None
    assert decided.file == "host/iptables-save.txt"
    assert "DOCKER-ISOLATION-STAGE-2 -o br-" in decided.text
    assert decided.text.endswith("-j DROP")
    assert result.fixes[0].command == "docker network connect test_net2 objective_blackburn"
    assert result.fixes[0].effect is Reachability.REACHABLE


def test_7_network_connect_opens_the_way() -> None:
    result = explain(snapshot_of(AFTER), "objective_blackburn", "goofy_swartz")
    assert (result.reachability, result.reason) == (Reachability.REACHABLE, Reason.SAME_BRIDGE)


def test_8_a_link_is_a_name_in_one_direction() -> None:
    resolver = Resolver(snapshot_of(BEFORE))
    there = resolver.resolve("tomcat1", "mysql1")
    assert there.via is Via.LINK
    assert there.target == "mysql1"
    back = resolver.resolve("mysql1", "tomcat1")
    assert (back.addresses, back.reason) == ((), Reason.NAME_SCOPE)


def test_9_names_work_on_user_defined_networks_only() -> None:
    resolver = Resolver(snapshot_of(BEFORE))
    assert resolver.resolve("ng1", "ng2").via is Via.EMBEDDED_DNS
    assert resolver.resolve("ng1", "ng2.test_net1").addresses == resolver.resolve("ng1", "ng2").addresses
    assert resolver.resolve("ng3", "ng4").reason is Reason.NAME_SCOPE
    assert "default bridge" in resolver.resolve("ng3", "ng4").explanation
    assert explain(snapshot_of(BEFORE), "ng3", "ng4").reachability is Reachability.REACHABLE


def test_10_a_container_on_two_networks_has_two_addresses() -> None:
    container = snapshot_of(AFTER).container("tomcat1")
    assert container is not None
    assert {e.network for e in container.endpoints} == {"bridge", "myBridge"}
    result = explain(snapshot_of(AFTER), "tomcat2", "tomcat1")
    assert {p.network: p.reachability for p in result.paths} == {
        "myBridge": Reachability.REACHABLE,
        "bridge": Reachability.UNREACHABLE,
    }


def test_11_a_joined_container_shares_the_stack() -> None:
    snapshot = snapshot_of(BEFORE)
    assert snapshot.netns_of["redis"] == snapshot.netns_of["ng"]
    result = explain(snapshot, "redis", "ng")
    assert result.reachability is Reachability.REACHABLE
    assert any(p.address == "127.0.0.1" and p.reason is Reason.LOOPBACK for p in result.paths)
    assert "shares the network stack of ng" in analysis_of(BEFORE).roles["redis"]
