"""The first policy of a Compose file."""

from __future__ import annotations

from textwrap import dedent

from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.policy.compose import read_compose
from diag.policy.from_compose import policy_of_compose
from diag.policy.judge import judge
from diag.policy.loader import load_policy
from diag.policy.model import Deny, Expectation, Policy, Reach, Resolve
from diag.policy.wording import expected_text
from diag.policy.writer import policy_yaml
from diag.reach.analysis import analyse
from tests.hosts import Host

SHOP = """
services:
  proxy:
    ports: ["80:8080", "443:8443", "127.0.0.1:9000:9000"]
    networks: [front, back]
    depends_on: [web]
  web:
    expose: ["8080"]
    networks: [back]
    depends_on: {db: {condition: service_healthy}}
    links: ["db:database"]
  db:
    networks: {back: , data: {aliases: [postgres]}}
    ports: ["${BIND:-127.0.0.1}:5432:5432"]
  backup:
    networks: [data]
    depends_on: [db, proxy]
networks:
  front:
  back:
  data: {internal: true}
"""


def made(text: str) -> tuple[Policy, tuple[str, ...]]:
    policy, left_out = policy_of_compose(read_compose(dedent(text), "/srv/shop/compose.yaml"), "p.yaml")
    again = load_policy(policy_yaml(policy, (), left_out), "p.yaml")
    assert [replace(e, line=0) for e in again] == list(policy)
    return policy, left_out


def told(expectations: tuple[Expectation, ...]) -> list[str]:
    return [expected_text(e).replace("compose shop/", "") for e in expectations]


def test_what_a_shop_is_for() -> None:
    policy, left_out = made(SHOP)
    assert told(policy.reach) == [
        "db, proxy, web must reach db, proxy, web",
        "backup, db must reach backup, db",
        "backup, web must reach db on tcp 5432",
        "proxy must reach web on tcp 8080",
        "@world must reach proxy on tcp 80,443",
    ]
    assert told(policy.deny) == [
        "@world must not reach proxy on icmp; tcp all but 80,443; udp all",
        "@world must not reach backup, db, web",
        "backup must not reach web",
        "backup must not reach proxy",
        "proxy, web must not reach backup",
        "backup must not reach @world",
    ]
    assert told(policy.resolve) == [
        "web must resolve database to db",
        "backup, web must resolve db to db",
        "backup must resolve postgres to db",
        "proxy must resolve web to web",
    ]
    assert left_out == ("backup → proxy: it depends on it, and they share no network of this file",)


def shop(*, broken: bool = False) -> Analysis:
    """The same as a host."""
    host = (
        Host()
        .uplink()
        .network("shop_front", "10.1.0.0/24")
        .network("shop_back", "10.2.0.0/24")
        .network("shop_data", "10.3.0.0/24", internal="true")
        .container("shop-backup-1", "shop_data")
        .container("shop-db-1", "shop_back", "shop_data")
        .container("shop-proxy-1", "shop_front", "shop_back")
        .container("shop-web-1", *(() if broken else ("shop_back",)), mode="none" if broken else "")
    )
    proxy = host.address("shop-proxy-1")
    host = host.rules(
        f"-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 80 -j DNAT --to-destination {proxy}:8080\n"
        f"-A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 443 -j DNAT --to-destination {proxy}:8443",
        "nat",
    ).rules(
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        f"-A FORWARD -d {proxy} -p tcp -m multiport --dports 8080,8443 -j ACCEPT\n"
        "-A FORWARD -i br-shop_front -o br-shop_front -j ACCEPT\n"
        "-A FORWARD -i br-shop_back -o br-shop_back -j ACCEPT\n"
        "-A FORWARD -i br-shop_data -o br-shop_data -j ACCEPT\n"
        "-A FORWARD -j DROP"
    )
    snapshot = host.snapshot()
    names = {"db": ("db", "database", "postgres"), "web": ("web",)}
    containers = tuple(
        replace(
            c,
            compose_project="shop",
            compose_service=(service := c.name.split("-")[1]),
            endpoints=tuple(replace(e, aliases=names.get(service, (service,))) for e in c.endpoints),
        )
        for c in snapshot.containers
    )
    return analyse(replace(snapshot, containers=containers))


def test_it_holds_on_such_a_host() -> None:
    policy, _ = made(SHOP)
    assert [(e.id, e.explanation) for e in judge(policy, shop()) if e.held is not True] == []


def test_it_does_not_hold_where_a_network_is_missing() -> None:
    policy, _ = made(SHOP)
    broken = [e for e in judge(policy, shop(broken=True)) if e.held is not True]
    assert "reach[4]" in {e.id for e in broken}
    assert "resolve[4]" in {e.id for e in broken}


def test_what_cannot_be_told_is_not_forbidden() -> None:
    policy, left_out = made("""
        services:
          a: {ports: ["${PORT}:80"]}
          b: {ports: ["80"]}
          c: {ports: ["192.0.2.7:80:80"]}
          d: {network_mode: host, ports: ["1:1"], depends_on: [a]}
          e: {network_mode: "service:f"}
          f: {ports: ["81:81"]}
          g: {networks: [vlan]}
          h: {networks: [inside], ports: ["82:82"]}
        networks: {vlan: {driver: macvlan}, inside: {internal: true}}
        """)
    world = [e for e in policy.deny if e.sources[0].name == "@world"]
    assert told(tuple(world)) == ["@world must not reach h"]
    assert told(tuple(e for e in policy.reach if e.sources[0].name == "@world")) == ["@world must reach f on tcp 81"]
    assert left_out == (
        "the port ${PORT}:80 of a, which depends on a variable or is not understood",
        "the port 80 of b, whose port at the host is chosen at start",
        "d → a: it depends on it, and they share no network of this file",
        "who sees the ports of c at 192.0.2.7",
        "what d reaches with network_mode host",
        "the ports of h: it is on internal networks only, which publish none",
    )


def test_a_shared_stack_has_no_name() -> None:
    policy, _ = made("services: {a: {network_mode: 'service:b'}, b: {}, c: {depends_on: [a, b]}}")
    assert told(policy.resolve) == ["c must resolve b to b"]
    assert told(policy.reach) == ["a, b, c must reach a, b, c"]


def test_an_alias_of_several_is_left_out() -> None:
    policy, _ = made(
        "services: {a: {networks: {n: {aliases: [x]}}}, b: {networks: {n: {aliases: [x, y]}}}, c: {networks: [n]}}"
    )
    assert told(policy.resolve) == ["a, c must resolve y to b"]


def test_kinds() -> None:
    policy, _ = made(SHOP)
    assert {type(e) for e in policy} == {Reach, Deny, Resolve}
    assert not any(e.optional for e in policy)
