"""Compose files as people write them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.errors import DiagError
from diag.policy.compose import Binding, ComposeFile, Service, filled, read_compose
from diag.policy.traffic import Traffic

FILE = "/srv/My Shop/compose.yaml"


def read(text: str, project: str = "") -> ComposeFile:
    return read_compose(text, FILE, project)


def service(text: str, name: str = "a") -> Service:
    """One service, of the lines below its name."""
    body = "".join(f"    {line}\n" for line in text.splitlines())
    return next(s for s in read(f"services:\n  {name}:\n    image: x\n{body}  b: {{}}\n").services if s.name == name)


VARIABLES = {
    "plain": "plain",
    "$$HOME": "$HOME",
    "${A:-80}": "80",
    "${A-80}": "80",
    "${A:-}": "",
    "${A:-${B:-x}y}z": "xyz",
    "${A:-${B}}": None,
    "${A}": None,
    "$A": None,
    "${A:?must}": None,
    "${A?}": None,
    "${A:+set}": "",
    "${A": None,
    "${1}": None,
    "$": None,
    "}": "}",
}


@pytest.mark.parametrize("text", VARIABLES)
def test_variables(text: str) -> None:
    assert filled(text) == VARIABLES[text]


PORTS = {
    "80:8080": Binding(Traffic.of(["tcp/8080"]), Traffic.of(["tcp/80"])),
    "80": Binding(Traffic.of(["tcp/80"]), None),
    "53:53/udp": Binding(Traffic.of(["udp/53"]), Traffic.of(["udp/53"])),
    "127.0.0.1:80:80": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/80"]), "127.0.0.1"),
    "127.0.0.1::80": Binding(Traffic.of(["tcp/80"]), None, "127.0.0.1"),
    "'[::1]:80:80'": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/80"]), "::1"),
    "0.0.0.0:80:80": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/80"]), "0.0.0.0"),
    "3000-3005:4000-4005": Binding(Traffic.of(["tcp/4000-4005"]), Traffic.of(["tcp/3000-3005"])),
    "8000-9000:80": Binding(Traffic.of(["tcp/80"]), None),
    "22:22": Binding(Traffic.of(["tcp/22"]), Traffic.of(["tcp/22"])),
    "'${P:-81}:80'": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/81"])),
    "'${P:-127.0.0.1:81}:80'": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/81"]), "127.0.0.1"),
    "'${IP:-}:${P:-81}:80'": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/81"])),
    "80:80/sctp": Binding(Traffic(), Traffic()),
    "{target: 80, published: 8080}": Binding(Traffic.of(["tcp/80"]), Traffic.of(["tcp/8080"])),
    "{target: 53, published: '53', protocol: udp, host_ip: 127.0.0.1, mode: host}": Binding(
        Traffic.of(["udp/53"]), Traffic.of(["udp/53"]), "127.0.0.1"
    ),
    "{target: 80}": Binding(Traffic.of(["tcp/80"]), None),
    "{target: 80, published: 8080-8090}": Binding(Traffic.of(["tcp/80"]), None),
}


@pytest.mark.parametrize("port", PORTS)
def test_ports(port: str) -> None:
    assert service(f"ports: [{port}]").bindings == (PORTS[port],)


@pytest.mark.parametrize("port", ["'${P}:80'", "x", "0:80", "80:70000", "80:80/x", "{published: 80}", "9-1", "[80]"])
def test_ports_that_cannot_be_told(port: str) -> None:
    found = service(f"ports: [{port}]")
    assert found.bindings == ()
    assert not found.ports_known


def test_where_a_port_is_seen() -> None:
    nothing = Traffic()
    assert Binding(nothing, None).is_everywhere
    assert Binding(nothing, None, "::").is_everywhere
    assert Binding(nothing, None, "127.1.2.3").is_local
    assert Binding(nothing, None, "localhost").is_local
    lan = Binding(nothing, None, "192.168.1.5")
    assert not lan.is_local
    assert not lan.is_everywhere


@pytest.mark.parametrize(
    ("head", "project", "found"),
    [
        ("name: shop\n", "", "shop"),
        ("name: ${N:-other}\n", "", "other"),
        ("name: shop\n", "given", "given"),
        ("", "", "myshop"),
        ("name: ${N}\n", "", "myshop"),
    ],
)
def test_the_project(head: str, project: str, found: str) -> None:
    assert read(head + "services: {a: {}}", project).project == found


def test_a_project_without_a_name() -> None:
    with pytest.raises(DiagError, match="--project"):
        read_compose("services: {a: {}}", "-")


def test_networks() -> None:
    compose = read("""
name: shop
services:
  a: {}
  b: {networks: [front, back]}
  c: {networks: {back: {aliases: [db, "${X:-y}"]}, out: ~}}
  d: {network_mode: host}
  e: {network_mode: "service:c"}
  f: {network_mode: "service:e"}
  g: {network_mode: "service:gone"}
  h: {network_mode: "service:i"}
  i: {network_mode: "service:h"}
networks:
  front:
  back: {internal: true, name: "the-back"}
  out: {external: true}
  old: {external: {name: legacy}}
  quiet: {driver_opts: {com.docker.network.bridge.enable_icc: "false"}}
  vlan: {driver: macvlan}
""")
    by_name = {s.name: s for s in compose.services}
    assert {name: dict(s.networks) for name, s in by_name.items()} == {
        "a": {"shop_default": ()},
        "b": {"shop_front": (), "the-back": ()},
        "c": {"the-back": ("db", "y"), "out": ()},
        "d": {},
        "e": {"the-back": (), "out": ()},
        "f": {"the-back": (), "out": ()},
        "g": {},
        "h": {},
        "i": {},
    }
    assert (by_name["e"].stack, by_name["f"].stack) == ("c", "c")
    networks = {n.name: (n.internal, n.talks, n.plain) for n in compose.networks.values()}
    assert networks == {
        "shop_default": (False, True, True),
        "shop_front": (False, True, True),
        "the-back": (True, True, True),
        "out": (False, True, False),
        "legacy": (False, True, False),
        "shop_quiet": (False, False, True),
        "shop_vlan": (False, True, False),
    }


def test_dependencies() -> None:
    found = service("depends_on: [b, c]\nlinks: ['d:database', e]")
    assert found.depends == ("b", "c", "d", "e")
    assert found.links == (("d", "database"), ("e", "e"))
    assert service("depends_on: {b: {condition: service_healthy}}").depends == ("b",)
    assert service("expose: ['80', 9000-9001, 53/udp]").inside == Traffic.of(["tcp/80,9000-9001", "udp/53"])


def test_dependencies_that_are_merged() -> None:
    compose = read("""
x-healthy: &healthy {condition: service_healthy}
x-base: &base
  restart: always
  depends_on: &needs
    redis: {<<: *healthy}
x-more: &more
  <<: *base
  depends_on:
    <<: *needs
    queue: {<<: *healthy}
services:
  web: {<<: *more}
  cron: {<<: *base, ports: !reset []}
  redis: {}
  queue: {}
""")
    assert {s.name: s.depends for s in compose.services} == {
        "web": ("queue", "redis"),
        "cron": ("redis",),
        "redis": (),
        "queue": (),
    }


def test_services_that_are_not_there_for_long() -> None:
    compose = read("""
services:
  web: {depends_on: {migrate: {condition: service_completed_successfully}}}
  migrate: {}
  debug: {profiles: [debug]}
  none: {deploy: {replicas: 0}}
  zero: {scale: 0}
""")
    assert [s.name for s in compose.services] == ["web"]
    assert compose.left_out == (
        "debug, which is started with a profile only",
        "migrate, which ends before others start",
        "none, which has no replica",
        "zero, which has no replica",
    )


def test_anchors_merge_keys_extension_and_tags() -> None:
    compose = read("""
x-base: &base
  expose: ["80"]
  networks: [back]
services:
  a:
    <<: *base
  b:
    extends: {service: a}
    expose: ["81"]
  c:
    extends: b
    ports: !override ["90:90"]
  d: {extends: {file: other.yaml, service: a}}
  e: {extends: f}
  f: {extends: e}
include: [other.yaml]
""")
    by_name = {s.name: s for s in compose.services}
    assert by_name["b"].inside == Traffic.of(["tcp/80-81"])
    assert by_name["c"].inside == Traffic.of(["tcp/80-81,90"])
    assert by_name["c"].networks == {"myshop_back": ()}
    assert "what d has of the service that it extends" in compose.left_out
    assert "what other files say that this one includes" in compose.left_out


@pytest.mark.parametrize("text", ["", "a: 1", "services: []", "services:", "services: 1"])
def test_what_is_no_compose_file(text: str) -> None:
    with pytest.raises(DiagError, match="is no Compose file"):
        read(text)


def test_too_many_services() -> None:
    with pytest.raises(DiagError, match="more than 2000 services"):
        read("services: {" + ", ".join(f"s{i}: {{}}" for i in range(2_001)) + "}")


KEYS = [
    "services",
    "networks",
    "ports",
    "depends_on",
    "expose",
    "links",
    "extends",
    "network_mode",
    "aliases",
    "a",
    "b",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 99999)
    | st.sampled_from([*KEYS, "80:80", "service:a", "${X}", ":", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=50)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)),
    VALUES,
)
def test_any_document_is_read_or_refused(services: object, networks: object) -> None:
    text = json.dumps({"name": "p", "services": services, "networks": networks})
    assert isinstance(read(text).services, tuple)
