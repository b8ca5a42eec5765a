"""A Compose file as far as it says who is to reach whom.

Of `${NAME:-default}` the default is taken, as `docker compose` does without that variable. Text with a variable that has
none cannot be told, and neither can what other files add (`include`, `extends` with a file).

>>> filled("${HOST:-127.0.0.1}:${PORT-${OTHER:-80}}:80"), filled("$$x"), filled("${PORT}:80")
('127.0.0.1:80:80', '$x', None)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from msgspec import Struct
from msgspec.structs import replace

from diag.errors import DiagError
from diag.model.address import Ip
from diag.policy.traffic import Traffic
from diag.policy.tree import Tree, read_yaml

DEFAULT = "default"
"""The network of services that name none."""
MAX_SERVICES = 2_000


class Binding(Struct, frozen=True):
    """One entry of `ports`."""

    inside: Traffic
    """At the container."""
    outside: Traffic | None
    """At the host; None: it is chosen at start, or cannot be told."""
    host_ip: str = ""
    """Empty: every address of the host."""

    @property
    def is_local(self) -> bool:
        """For the host itself only."""
        try:
            return bool(self.host_ip) and Ip.parse(self.host_ip).is_loopback
        except ValueError:
            return self.host_ip == "localhost"

    @property
    def is_everywhere(self) -> bool:
        """At each address of the host."""
        return self.host_ip in ("", "0.0.0.0", "::")  # noqa: S104


class Service(Struct, frozen=True):
    """One service."""

    name: str
    networks: Mapping[str, tuple[str, ...]]
    """Its networks, by the names that Docker gives them, with its aliases there."""
    mode: str = ""
    """`network_mode`."""
    stack: str = ""
    """The service whose network stack it shares (`network_mode: service:x`); its networks are that one's."""
    depends: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(service, alias)."""
    bindings: tuple[Binding, ...] = ()
    ports_known: bool = True
    """Whether all of `ports` can be told."""
    exposed: Traffic = Traffic()

    @property
    def inside(self) -> Traffic:
        """The ports that it is said to listen on."""
        found = self.exposed
        for binding in self.bindings:
            found |= binding.inside
        return found


class ComposeNetwork(Struct, frozen=True):
    """One network."""

    name: str
    """That Docker gives it."""
    internal: bool = False
    talks: bool = True
    """Containers on it reach each other: that was not switched off."""
    plain: bool = True
    """It is this file's own, a bridge, and apart from other networks and the outside, as bridges are by default."""


class ComposeFile(Struct, frozen=True):
    """What a file says."""

    project: str
    services: tuple[Service, ...]
    """Those that are started by `docker compose up` and stay."""
    networks: Mapping[str, ComposeNetwork]
    """By the name that Docker gives them."""
    left_out: tuple[str, ...]
    """What was not understood or has no place in a policy, a sentence each."""


def filled(text: str) -> str | None:
    """Text with the defaults of its variables; None where one has none."""
    found, rest = _fill(text, 0, closing=False)
    return found if rest == len(text) else None


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _fill(text: str, at: int, *, closing: bool) -> tuple[str | None, int]:
    """From a position to the end, or to the `}` that closes it; with the position behind what was read."""
    parts: list[str] = []
    known = True
    while at < len(text):
        if closing and text[at] == "}":
            return "".join(parts) if known else None, at
        if text[at] != "$":
            parts.append(text[at])
            at += 1
        elif text.startswith("$$", at):
            parts.append("$")
            at += 2
        else:
            value, at = _variable(text, at + 1)
            known = known and value is not None
            parts.append(value or "")
    return ("".join(parts) if known and not closing else None), at


def _variable(text: str, at: int) -> tuple[str | None, int]:
    """What stands behind a `$`."""
    braced = text.startswith("{", at)
    name = _NAME.match(text, at + braced)
    if name is None:
        return None, len(text)
    if not braced:
        return None, name.end()
    operator = re.compile(r":?[-+?]|").match(text, name.end())
    assert operator is not None
    value, end = _fill(text, operator.end(), closing=True)
    if not operator[0] or operator[0].endswith("?"):
        value = None
    elif operator[0].endswith("+"):
        value = ""
    return value, end + 1


def read_compose(text: str, file: str, project: str = "") -> ComposeFile:
    """A Compose file. `project`: its name, where the user says it. Raises DiagError."""
    tree = read_yaml(text, file, tags=True)
    services = tree.get("services")
    if services is None or not isinstance(services.value, dict):
        raise DiagError(f"{file} is no Compose file", why="it has no services")
    if len(services.value) > MAX_SERVICES:
        raise DiagError(f"cannot read {file}", why=f"it has more than {MAX_SERVICES} services")
    return _File(tree, services, project or _project(tree, file)).read()


def _project(tree: Tree, file: str) -> str:
    """As Compose has it: `name`, else the folder's name without what may not be in one."""
    named = tree.get("name")
    given = filled(named.value) if named is not None and isinstance(named.value, str) else None
    found = given or re.sub(r"[^a-z0-9_-]", "", PurePath(file).parent.name.lower()).lstrip("_-")
    if not found:
        raise DiagError(f"the Compose project of {file} has no name", hint="Give it with --project")
    return found


class _File:
    """A file on its way."""

    def __init__(self, tree: Tree, services: Tree, project: str) -> None:
        self._tree = tree
        self._services = dict(services.members())
        self._project = project
        self._left_out: list[str] = []
        self._named: dict[str, ComposeNetwork] = {}
        """Networks by the names that the file gives them."""

    def read(self) -> ComposeFile:
        if self._tree.get("include"):
            self._left_out.append("what other files say that this one includes")
        networks = self._tree.get("networks")
        for key, tree in networks.members() if networks is not None else ():
            self._named[key] = self._network(key, tree)
        gone = self._not_running()
        names = [name for name in self._services if name not in gone]
        found = tuple(self._service(name, self._body(name)) for name in sorted(names))
        by_name = {service.name: service for service in found}
        return ComposeFile(
            self._project,
            tuple(self._with_shared_stack(service, by_name) for service in found),
            {network.name: network for network in self._named.values()},
            tuple(self._left_out),
        )

    def _not_running(self) -> set[str]:
        """Services of a profile, without a replica, or that end before others start."""
        found: dict[str, str] = {}
        for name, tree in self._services.items():
            deploy = tree.get("deploy")
            counts = (tree.get("scale"), deploy.get("replicas") if deploy else None)
            if tree.get("profiles"):
                found[name] = f"{name}, which is started with a profile only"
            elif any(_text(count) == "0" for count in counts):
                found[name] = f"{name}, which has no replica"
        for tree in self._services.values():
            depends = tree.get("depends_on")
            for other, how in depends.members() if depends else ():
                if _text(how.get("condition")) == "service_completed_successfully":
                    found[other] = f"{other}, which ends before others start"
        self._left_out += [text for name, text in sorted(found.items()) if name in self._services]
        return set(found)

    def _network(self, key: str, tree: Tree) -> ComposeNetwork:
        external = tree.get("external")
        given = _text(tree.get("name")) or (_text(external.get("name")) if external else "")
        if external is not None and external.value is not False:
            return ComposeNetwork(given or key, plain=False)
        options = tree.get("driver_opts")
        icc = _text(options.get("com.docker.network.bridge.enable_icc")) if options else ""
        gateway = any("gateway_mode" in key for key, _ in options.members()) if options else False
        plain = _text(tree.get("driver")) in ("", "bridge") and not gateway
        internal = _text(tree.get("internal")) == "true"
        return ComposeNetwork(given or f"{self._project}_{key}", internal, icc.lower() != "false", plain)

    def _body(self, name: str, seen: frozenset[str] = frozenset()) -> dict[str, Tree]:
        """What a service says, with what the one says that it extends."""
        own = dict(self._services[name].members())
        extends = self._services[name].get("extends")
        if extends is None:
            return own
        base = _text(extends) or _text(extends.get("service"))
        if extends.get("file") or base not in self._services or base in seen | {name}:
            self._left_out.append(f"what {name} has of the service that it extends")
            return own
        inherited = self._body(base, seen | {name})
        for key in ("ports", "expose"):
            both = [*_items(inherited.get(key)), *_items(own.get(key))]
            if both:
                own[key] = Tree(tuple(both), 0)
        return {**inherited, **own}

    def _service(self, name: str, body: Mapping[str, Tree]) -> Service:
        mode = _text(body.get("network_mode"))
        depends, links = body.get("depends_on"), tuple(self._links(body.get("links")))
        bindings = [self._binding(name, item) for item in _items(body.get("ports"))]
        named = [_text(item) for item in _items(depends)] + [key for key, _ in depends.members()] if depends else []
        return Service(
            name,
            self._networks(body) if not mode else {},
            mode,
            "",
            tuple(sorted({*named, *(service for service, _ in links)})),
            links,
            tuple(binding for binding in bindings if binding is not None),
            None not in bindings,
            self._exposed(name, body),
        )

    def _networks(self, body: Mapping[str, Tree]) -> dict[str, tuple[str, ...]]:
        tree = body.get("networks")
        aliases: dict[str, tuple[str, ...]] = {_text(item): () for item in _items(tree)}
        for key, how in tree.members() if tree is not None else ():
            aliases[key] = tuple(filter(None, map(_text, _items(how.get("aliases")))))
        return {self._known(key).name: names for key, names in (aliases or {DEFAULT: ()}).items()}

    def _known(self, key: str) -> ComposeNetwork:
        if key not in self._named:
            self._named[key] = ComposeNetwork(f"{self._project}_{key}")
        return self._named[key]

    def _links(self, tree: Tree | None) -> Iterator[tuple[str, str]]:
        for item in _items(tree):
            service, _, alias = _text(item).partition(":")
            if service:
                yield service, alias or service

    def _exposed(self, name: str, body: Mapping[str, Tree]) -> Traffic:
        found = Traffic()
        for item in _items(body.get("expose")):
            ports, _, protocol = _text(item).partition("/")
            traffic = _traffic(ports, protocol or "tcp")
            if traffic is None:
                self._left_out.append(f"the exposed port {_shown(item)} of {name}")
            else:
                found |= traffic
        return found

    def _binding(self, name: str, item: Tree) -> Binding | None:
        """None: it cannot be told."""
        if isinstance(item.value, dict):
            ip, outside, inside = (_known_text(item.get(key)) for key in ("host_ip", "published", "target"))
            protocol = _known_text(item.get("protocol")) or "tcp"
        else:
            text, _, protocol = (_known_text(item) or "?").partition("/")
            front, _, inside = text.rpartition(":")
            ip, _, outside = front.rpartition(":")
        found = None
        if None not in (ip, outside, inside):
            found = _bound((ip or "").strip("[]"), outside or "", inside or "", protocol or "tcp")
        if found is None:
            self._left_out.append(
                f"the port {_shown(item)} of {name}, which depends on a variable or is not understood"
            )
        elif found.outside is None:
            self._left_out.append(f"the port {_shown(item)} of {name}, whose port at the host is chosen at start")
        return found

    def _with_shared_stack(self, service: Service, by_name: Mapping[str, Service]) -> Service:
        """A service in the network stack of another is on that one's networks."""
        owner, seen = service, set[str]()
        while owner.mode.startswith("service:") and owner.name not in seen:
            seen.add(owner.name)
            owner = by_name.get(owner.mode.partition(":")[2], Service(owner.name, {}, "?"))
        if owner is service:
            return service
        return replace(service, networks=dict.fromkeys(owner.networks, ()), stack=owner.name, bindings=())


def _bound(ip: str, outside: str, inside: str, protocol: str) -> Binding | None:
    """None for what is no port."""
    within = _traffic(inside, protocol)
    if within is None:
        return None
    beyond = _traffic(outside, protocol) if outside else None
    if outside and beyond is None:
        return None
    if beyond is not None and _count(beyond) != _count(within):
        beyond = None
    return Binding(within, beyond, ip)


def _count(traffic: Traffic) -> int:
    return sum(last - first + 1 for first, last in (*traffic.tcp.ranges, *traffic.udp.ranges))


def _traffic(ports: str, protocol: str) -> Traffic | None:
    """Nothing for SCTP, which verdicts leave out; None for what is no port."""
    protocol = protocol.lower()
    if protocol == "sctp":
        return Traffic()
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?", ports):
        return None
    try:
        return Traffic.of([f"{protocol}/{ports}"])
    except ValueError:
        return None


def _items(tree: Tree | None) -> Iterator[Tree]:
    if tree is not None:
        yield from tree.items()


def _known_text(tree: Tree | None) -> str | None:
    """Text with its defaults, empty where there is none; None where a variable has no default."""
    if tree is None or isinstance(tree.value, dict | tuple):
        return ""
    if isinstance(tree.value, bool):
        return str(tree.value).lower()
    return filled(str(tree.value))


def _text(tree: Tree | None) -> str:
    return _known_text(tree) or ""


def _shown(tree: Tree) -> str:
    value = tree.plain()
    text = str(value.get("target", "?")) if isinstance(value, dict) else str(value)
    return text[:60]
