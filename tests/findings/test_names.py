"""Checks of names."""

from __future__ import annotations

from typing import Any

from tests.altered import Change, absent, altered_snapshot, container, instead, whole
from tests.findings.asking import every_finding, found, only
from tests.loading import snapshot_of

SEED = "seed-d29"
UPSTREAM = "# ExtServers: [host(192.0.2.53)]"


def test_a_link_to_an_old_address() -> None:
    finding = only(
        list(
            every_finding(
                altered_snapshot(SEED, instead("containers/tomcat1/hosts", "172.17.0.4\tmysql1", "172.17.0.9\tmysql1"))
            )
        )
    )
    assert (finding.code, finding.subject) == ("stale-hosts-entry", "tomcat1 mysql1")
    assert finding.evidence[0].text.startswith("172.17.0.9")


def test_names_for_addresses_of_elsewhere_are_not_stale() -> None:
    elsewhere = instead("containers/tomcat1/hosts", "172.17.0.4\tmysql1", "192.0.2.4\tmysql1")
    assert not every_finding(altered_snapshot(SEED, elsewhere))


def test_an_upstream_on_the_containers_own_loopback() -> None:
    inside = instead("containers/ng1/resolv.conf", UPSTREAM, "# ExtServers: [127.0.0.53]")
    finding = only(list(every_finding(altered_snapshot(SEED, inside))))
    assert (finding.code, finding.subject) == ("dns-upstream-unreachable", "ng1")
    assert finding.evidence[0].file.endswith("/resolv.conf")


def test_an_upstream_on_the_hosts_loopback() -> None:
    assert not every_finding(
        altered_snapshot(SEED, instead("containers/ng1/resolv.conf", UPSTREAM, "# ExtServers: [host(127.0.0.53)]"))
    )
    one_of_two = instead("containers/ng1/resolv.conf", UPSTREAM, "# ExtServers: [127.0.0.53 192.0.2.53]")
    assert not every_finding(altered_snapshot(SEED, one_of_two))


def test_a_server_on_loopback_without_dockers_dns() -> None:
    finding = only(
        found(
            altered_snapshot(SEED, whole("containers/ng3/resolv.conf", "nameserver 127.0.0.53\n")),
            "dns-upstream-unreachable",
        )
    )
    assert finding.subject == "ng3"
    assert not every_finding(altered_snapshot(SEED, whole("containers/onhost/resolv.conf", "nameserver 127.0.0.53\n")))


def test_dockers_dns_without_its_rule() -> None:
    flushed = [
        whole("containers/ng1/iptables-save.txt", "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"),
        whole("containers/ng1/nft-ruleset.json", '{"nftables": []}'),
    ]
    finding = only(list(every_finding(altered_snapshot(SEED, *flushed))))
    assert (finding.code, finding.subject) == ("dns-redirect-missing", "ng1")
    assert [e.file.rpartition("/")[2] for e in finding.evidence] == ["resolv.conf", "proc-net-udp.txt"]


def test_many_queries_for_each_name() -> None:
    def options(value: str) -> Change:
        return instead("containers/ng1/resolv.conf", "options ndots:0", f"search example.org\noptions {value}")

    finding = only(list(every_finding(altered_snapshot(SEED, options("ndots:5")))))
    assert (finding.code, finding.subject) == ("dns-many-queries", "ng1")
    assert not every_finding(altered_snapshot(SEED, options("ndots:1")))


def of_project(name: str, project: str, service: str, alias: str = "") -> Change:
    """The container as docker compose makes it: its service is an alias."""
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}

    def change(c: dict[str, Any]) -> None:
        c["Config"].update(Labels=labels)
        c["NetworkSettings"]["Networks"]["test_net1"].update(DNSNames=[name, alias or service])

    return container(name, change)


def test_two_projects_with_one_service_name() -> None:
    shared = [
        of_project("ng1", "one", "db"),
        of_project("ng2", "two", "db"),
        of_project("objective_blackburn", "one", "app"),
    ]
    finding = only(list(every_finding(altered_snapshot(SEED, *shared))))
    assert (finding.code, finding.subject) == ("name-collision", "test_net1 db")
    assert [e.text for e in finding.evidence] == ["container ng1", "container ng2"]


def test_names_that_are_shared_on_purpose() -> None:
    """Replicas; two services with an alias of its own; services that nobody else of their projects is there to call."""
    app = of_project("objective_blackburn", "one", "app")
    assert not every_finding(
        altered_snapshot(SEED, of_project("ng1", "one", "db"), of_project("ng2", "one", "db"), app)
    )
    blue = [of_project("ng1", "one", "blue", "web"), of_project("ng2", "one", "green", "web")]
    assert not every_finding(altered_snapshot(SEED, *blue, app))
    behind = [of_project("ng1", "one", "web"), of_project("ng2", "two", "web")]
    assert not every_finding(altered_snapshot(SEED, *behind, of_project("objective_blackburn", "proxy", "traefik")))
    assert not every_finding(snapshot_of("internal_icc-d20"))


def test_rules_that_may_not_have_been_captured() -> None:
    """The nftables backend seen by iptables-save alone; the other one seen by an nft that does not know its targets."""
    nft = "published-d29nft"
    users = [c.name for c in snapshot_of(nft).containers if c.endpoints and c.network_mode not in ("default", "bridge")]
    assert not every_finding(altered_snapshot(nft, *(absent(f"containers/{name}/nft-ruleset.json") for name in users)))
    assert not every_finding(altered_snapshot(nft, absent(f"containers/{users[0]}/nft-ruleset.json")))
    assert not every_finding(altered_snapshot(SEED, absent("containers/ng1/iptables-save.txt")))
