"""Made-up hosts: whole, what Docker and the kernel would make of them, and the same each time."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hosts import HostSpec, container_name, main, write_host
from benchmarks.plan import (
    FIRST_HOST_PORT,
    FIRST_OWN_PORT,
    LAST_PORT,
    UPLINK,
    UPLINK6,
    Container,
    Endpoint,
    Host,
    plan_host,
)
from benchmarks.rules import host_tables
from diag.bundle.layout import FACTS, Scope
from diag.bundle.reader import read_bundle
from diag.capture import redact
from diag.model.bundle import Bundle
from diag.model.reasons import Reason
from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer

PLAIN = HostSpec(containers=12, networks=4, multihomed=0.2, admin_rules=0)
RULED = HostSpec(containers=12, networks=4, multihomed=0.2, admin_rules=40)
DUAL = HostSpec(containers=12, networks=4, multihomed=0.2, admin_rules=40, ipv6=True)
DISTINCT = HostSpec(containers=6, networks=2, multihomed=0, admin_rules=0, distinct=True)


class Made:
    """A host that was written down and read again."""

    def __init__(self, spec: HostSpec, folder: Path) -> None:
        self.host: Host = plan_host(spec)
        self.folder = folder
        self.written = write_host(folder, spec)
        self.bundle: Bundle = read_bundle(str(folder))
        self.answerer = FlowAnswerer(build_snapshot(self.bundle))

    def ask(self, source: Container, address: object, protocol: str, port: int) -> dict[str, Any]:
        """What `diag trace` says of a flow."""
        request = {"source": source.name, "address": str(address), "protocol": protocol, "port": port}
        return self.answerer.answer(request)

    def targets(self, *, shared: bool) -> Iterator[tuple[Container, Container, Endpoint]]:
        """Every container with each address of each other, on a network that it shares or does not."""
        for source, (target, endpoint) in itertools.product(self.host.containers, self.host.endpoints):
            on_it = endpoint.bridge in [own.bridge for own in source.endpoints]
            if source is not target and on_it is shared:
                yield source, target, endpoint

    def user_rules(self) -> list[str]:
        """The lines of DOCKER-USER."""
        text = (self.folder / "host/iptables-save.txt").read_text()
        return re.findall(r"-A DOCKER-USER .*", text)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(PLAIN, tmp_path_factory.mktemp("plain") / "host")


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(RULED, tmp_path_factory.mktemp("ruled") / "host")


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(DUAL, tmp_path_factory.mktemp("dual") / "host")


@pytest.fixture(scope="module")
def distinct(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(DISTINCT, tmp_path_factory.mktemp("distinct") / "host")


def test_every_part_of_a_capture_is_there(plain: Made) -> None:
    # A legacy variant is captured only where it has tables, and `ip-link` where `ip-addr` is not.
    left_out = {"ip-link.json", "iptables-legacy-save.txt", "ip6tables-legacy-save.txt"}
    assert plain.answerer.snapshot.gaps == ()
    for folder, scope in (("host", Scope.HOST), ("docker", Scope.ENGINE)):
        names = {fact.files[0] for fact in FACTS if fact.scope & scope} - left_out
        assert {path.name for path in (plain.folder / folder).iterdir()} == names
    # The product's own capture takes these of every namespace, whether it has a bridge or not.
    names = {fact.files[0] for fact in FACTS if fact.scope & Scope.NETNS} - left_out
    for container in plain.host.containers:
        assert {path.name for path in (plain.folder / "containers" / container.short_id).iterdir()} == names


def test_docker_objects_have_the_fields_that_a_capture_keeps(plain: Made) -> None:
    def load(name: str) -> Any:
        return json.loads(plain.bundle.files[f"docker/{name}.json"])

    assert [redact.container(item) for item in load("containers")] == load("containers")
    assert [redact.network(item) for item in load("networks")] == load("networks")
    assert redact.info(load("info")) == load("info")
    assert redact.version(load("version")["Server"]) == load("version")["Server"]


def test_a_network_in_common(plain: Made) -> None:
    for source, target, endpoint in plain.targets(shared=True):
        for port in target.ports:
            found = plain.ask(source, endpoint.address, port.protocol, port.number)
            assert (found["disposition"], found["symptom"]) == ("delivered", "ok")
            assert (found["delivered_to"], found["reason"]) == (target.name, Reason.SAME_BRIDGE.value)
    source, target, endpoint = next(plain.targets(shared=True))
    assert plain.ask(source, endpoint.address, "tcp", 9)["symptom"] == "ECONNREFUSED"
    assert plain.ask(source, endpoint.address, "tcp", 9901)["symptom"] == "ECONNREFUSED"  # on 127.0.0.1 only
    assert plain.ask(source, endpoint.address, "udp", 8125)["symptom"] == "ok"


def test_no_network_in_common(plain: Made) -> None:
    for source, target, endpoint in plain.targets(shared=False):
        found = plain.ask(source, endpoint.address, "tcp", target.ports[0].number)
        assert (found["disposition"], found["reason"]) == ("dropped", Reason.DIRECT_ACCESS_DROP.value)
        assert f"-d {endpoint.address}/32 ! -i {endpoint.bridge.interface} -j DROP" in found["decided_by"]["text"]


def test_published_ports(plain: Made) -> None:
    """From another network they are forwarded, from the container's own docker-proxy answers."""
    for source, target in itertools.permutations(plain.host.containers, 2):
        behind = target.gateway_endpoint.bridge
        port = target.ports[-1]
        found = plain.ask(source, UPLINK.ip, port.protocol, port.host_port)
        own = source.gateway_endpoint.bridge == behind
        expected = ("docker-proxy", Reason.DOCKER_PROXY) if own else (target.name, Reason.PUBLISHED_PORT)
        assert (found["disposition"], found["symptom"]) == ("delivered", "ok")
        assert (found["delivered_to"], found["reason"]) == (expected[0], expected[1].value)


def says(rule: str, source: Endpoint, target: Endpoint, protocol: str, port: int) -> bool:
    """Whether a rule of DOCKER-USER is about a new flow."""
    options = dict(re.findall(r"(-s|-d|-p|--dports?|--ctstate) (\S+)", rule))
    ports = options.get("--dport") or options.get("--dports", "0:65535")
    ranges = [(part.partition(":")[0], part.rpartition(":")[2]) for part in ports.split(",")]
    return (
        "--ctstate" not in options
        and source.address in ip_network(options.get("-s", "0.0.0.0/0"))
        and target.address in ip_network(options.get("-d", "0.0.0.0/0"))
        and options.get("-p", protocol) == protocol
        and any(int(first) <= port <= int(last) for first, last in ranges)
    )


def test_admin_rules_do_what_they_say(ruled: Made) -> None:
    rules = ruled.user_rules()
    assert len(rules) == RULED.admin_rules + 1
    assert rules[0].endswith("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    named = {int(port) for rule in rules for port in re.findall(r"\d+", rule.partition("--dport")[2])}
    decided = {"ACCEPT": 0, "DROP": 0}
    for source, _, endpoint in ruled.targets(shared=True):
        way = next(own for own in source.endpoints if own.bridge == endpoint.bridge)
        for protocol, port in itertools.product(("tcp", "udp"), sorted(named)[::8]):
            rule = next((rule for rule in rules if says(rule, way, endpoint, protocol, port)), "")
            found = ruled.ask(source, endpoint.address, protocol, port)
            assert (found["disposition"] == "dropped") == rule.endswith("DROP"), (rule, found)
            if rule:
                assert found["decided_by"]["text"] == rule
                decided[rule.rpartition(" ")[2]] += 1
    assert min(decided.values()) > 0


def test_distinct_containers_have_rules_of_their_own(distinct: Made) -> None:
    for source, target, endpoint in distinct.targets(shared=True):
        blocked = [
            (protocol, number)
            for protocol, number in itertools.product(("tcp", "udp"), range(DISTINCT.containers))
            if distinct.ask(source, endpoint.address, protocol, FIRST_OWN_PORT + number)["disposition"] == "dropped"
        ]
        assert blocked == [("tcp", source.number), ("udp", target.number)]


def test_flows_of_both_families_fare_alike(dual: Made) -> None:
    """Not all processes listen in both."""
    published = [
        (UPLINK.ip, UPLINK6.ip, port.protocol, port.host_port) for c in dual.host.containers for port in c.ports
    ]
    own = [
        (endpoint.address, endpoint.address6, port.protocol, port.number)
        for container, endpoint in dual.host.endpoints
        for port in container.ports
    ]
    seen: Counter[str] = Counter()
    for source, (address, address6, protocol, port) in itertools.product(dual.host.containers, (*published, *own)):
        one, other = (dual.ask(source, ip, protocol, port) for ip in (address, address6))
        alike = ("disposition", "reason", "delivered_to")
        assert [one[part] for part in alike] == [other[part] for part in alike], (source.name, address6, port)
        seen[one["reason"]] += 1
    assert {Reason.SAME_BRIDGE, Reason.DIRECT_ACCESS_DROP, Reason.PUBLISHED_PORT, Reason.FIREWALL_DROP} <= seen.keys()


def test_the_same_spec_gives_the_same_bytes(plain: Made, tmp_path: Path) -> None:
    assert write_host(tmp_path / "again", PLAIN) == plain.written
    assert read_bundle(str(tmp_path / "again")).files == plain.bundle.files
    other = plan_host(HostSpec(containers=12, networks=4, multihomed=0.2, admin_rules=0, seed=1))
    assert {c.id for c in other.containers}.isdisjoint(c.id for c in plain.host.containers)


def test_a_large_host() -> None:
    host = plan_host(HostSpec())
    assert sum(len(table.rules) for table in host_tables(host)) == 5613
    assert len({endpoint.address for _, endpoint in host.endpoints}) == len(host.endpoints) == 1050
    assert len({endpoint.veth for _, endpoint in host.endpoints}) == 1050
    assert len({port.host_port for container in host.containers for port in container.ports}) == 2000
    assert {sum(c.endpoints[0].bridge is bridge for c in host.containers) for bridge in host.bridges} == {10}
    names = [container.name for container in host.containers]
    assert names == [container_name(host.spec, number) for number in range(1000)]
    assert len(set(names)) == 1000


def test_a_very_large_host() -> None:
    host = plan_host(HostSpec(containers=5000, networks=200))
    ports = {port.host_port for container in host.containers for port in container.ports}
    assert len(ports) == 10_000
    assert FIRST_HOST_PORT <= min(ports) < max(ports) <= LAST_PORT
    assert len({endpoint.veth for _, endpoint in host.endpoints}) == len(host.endpoints) == 5250
    assert all(endpoint.address in endpoint.bridge.subnet for _, endpoint in host.endpoints)
    assert len({bridge.subnet for bridge in host.bridges}) == 200


def test_subnets_have_room_and_do_not_overlap() -> None:
    host = plan_host(HostSpec(containers=2000, networks=3, published=1, multihomed=0.5))
    for one, other in itertools.combinations(host.bridges, 2):
        assert not one.subnet.overlaps(other.subnet)
    for _, endpoint in host.endpoints:
        assert endpoint.address in endpoint.bridge.subnet
        assert endpoint.address not in (endpoint.bridge.gateway, endpoint.bridge.subnet.broadcast_address)


@pytest.mark.parametrize(
    "values",
    [
        {"networks": 0},
        {"containers": -1},
        {"multihomed": 1.5},
        {"containers": 40_000},
        {"containers": 26_000, "published": 1, "distinct": True},
    ],
)
def test_hosts_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"network|fraction|ports|port"):
        HostSpec(**values)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--containers", "3", "--networks", "2", "--admin-rules", "5", "--multihomed", "0", "--distinct"]
    assert main([str(tmp_path / "made"), *options]) == 0
    said = capsys.readouterr().out
    text = (tmp_path / "made/host/iptables-save.txt").read_text()
    assert f"{text.count('] -A ')} rules" in said
    assert main([str(tmp_path / "made"), *options]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.fixture
def namespace() -> Iterator[list[str]]:
    """A command that runs another one in an empty network namespace."""
    missing = [p for p in ("ip", "nft", "nsenter", "iptables-nft-restore") if not shutil.which(p)]
    if (os.geteuid() or missing) and not os.environ.get("CI"):
        pytest.skip(f"not root, or not installed: {', '.join(missing)}")
    name = f"bm{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield ["nsenter", f"--net=/run/netns/{name}"]
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize(("made", "where"), [("ruled", "host"), ("ruled", "container"), ("dual", "host")])
def test_the_kernel_takes_the_rules_and_shows_the_same(
    namespace: list[str], request: pytest.FixtureRequest, made: str, where: str
) -> None:
    host: Made = request.getfixturevalue(made)
    folder = host.folder / ("host" if where == "host" else f"containers/{host.host.containers[0].short_id}")
    for family in ("ip", "ip6"):
        text = (folder / f"{family}tables-save.txt").read_text()
        subprocess.run([*namespace, f"{family}tables-nft-restore"], input=text, text=True, check=True)
        shown = subprocess.run(
            [*namespace, f"{family}tables-nft-save", "-c"], capture_output=True, text=True, check=True
        )
        assert without_comments(shown.stdout) == without_comments(text)
    shown = subprocess.run([*namespace, "nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True)
    mine, theirs = (json.loads(text)["nftables"] for text in ((folder / "nft-ruleset.json").read_text(), shown.stdout))
    if mine[0] == theirs[0]:  # other versions of nft show other expressions
        assert nft_rules(mine) == nft_rules(theirs)


def without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def nft_rules(items: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[Any]]:
    """The expressions of the rules of each chain."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for item in items:
        if "rule" in item:
            rule = item["rule"]
            found.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["expr"])
    return found


def test_links_and_addresses_agree_with_docker(plain: Made) -> None:
    links = {link["ifname"]: link for link in json.loads(plain.bundle.files["host/ip-addr.json"])}
    ports = {port["ifname"]: port for port in json.loads(plain.bundle.files["host/bridge-link.json"])}
    for container, endpoint in plain.host.endpoints:
        inside = json.loads(plain.bundle.files[f"containers/{container.short_id}/ip-addr.json"])
        device = next(link for link in inside if link["ifname"] == endpoint.device)
        veth = links[endpoint.veth]
        assert (veth["link_index"], device["link_index"]) == (device["ifindex"], veth["ifindex"])
        assert veth["master"] == ports[endpoint.veth]["master"] == endpoint.bridge.interface
        assert ip_address(device["addr_info"][0]["local"]) == endpoint.address
