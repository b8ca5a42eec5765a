"""A bundle to a snapshot: every file of the layout, whose namespace is whose, and what is missing."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from diag.collector import collector_paused
from diag.model.bundle import Bundle
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.message import say
from diag.model.netns import LinkKind, Netns
from diag.model.provenance import Gap, GapKind
from diag.model.snapshot import NameFiles, Snapshot
from diag.parse.docker_objects import parse_containers, parse_engine, parse_networks
from diag.parse.equal_files import EqualFiles
from diag.parse.json_items import decode
from diag.parse.netns import NetnsReader

HOST = "host"
_LARGE = 100_000
"""Objects of a snapshot, about 300 for each container."""


def build_snapshot(bundle: Bundle) -> Snapshot:
    """All facts of a bundle. Never raises for what a file holds: what cannot be read is a gap."""
    with collector_paused():
        snapshot = _snapshot(bundle)
        if gc.get_count()[0] > _LARGE:
            gc.freeze()  # or every later collection would go through all of them
    return snapshot


def _snapshot(bundle: Bundle) -> Snapshot:
    gaps = list(bundle.gaps)
    networks = _networks(bundle, gaps)
    containers, captured = _containers(bundle, networks, gaps)
    readers = _Readers(bundle)
    folders = _folders(readers, containers, gaps)
    containers = (*containers, *_from_folders(folders, containers))
    engine = parse_engine(bundle.files.get("docker/version.json"), bundle.files.get("docker/info.json"))
    host = readers.of("host", say("the host"))
    netns: dict[str, Netns] = {HOST: host.read(HOST)}
    gaps += host.gaps
    netns_of = _netns_of(containers, folders)
    _read_containers(readers, containers, folders, netns_of, netns, gaps)
    _read_stale_joins(readers, containers, folders, netns_of, netns)
    for name in readers.owners("netns"):
        reader = readers.of(f"netns/{name}", say("Docker's namespace {name}", name=name))
        netns[f"netns/{name}"] = reader.read(f"netns/{name}")
        gaps += reader.gaps
    return Snapshot(
        engine,
        networks,
        tuple(sorted(containers, key=lambda c: c.name)),
        MappingProxyType(netns),
        MappingProxyType(netns_of),
        MappingProxyType(_name_files(readers, containers, folders)),
        bundle.captured_at,
        bundle.host or engine.name,
        tuple(dict.fromkeys(gaps)),
        captured,
        readers.texts(),
    )


class _Readers:
    """Of the folders of a bundle; a file that equals one of another folder is not parsed again."""

    def __init__(self, bundle: Bundle) -> None:
        self._records = bundle.records
        self._equal = EqualFiles()
        self._files: dict[str, dict[str, bytes]] = {}
        self._of: dict[str, NetnsReader] = {}
        for path, data in bundle.files.items():
            folder, _, name = path.rpartition("/")
            if folder not in self._files:
                self._files[folder] = {}
            self._files[folder][name] = data

    def of(self, folder: str, label: str) -> NetnsReader:
        """The one of a folder. A person calls its namespace by the label."""
        found = self._of.get(folder)
        if found is None:
            files = self._files.get(folder, {})
            found = self._of[folder] = NetnsReader(files, self._records, f"{folder}/", label, self._equal)
        return found

    def owners(self, top: str) -> list[str]:
        """The names of the folders below `containers/` or `netns/`, sorted."""
        return sorted({folder.split("/")[1] for folder in self._files if folder.startswith(f"{top}/")})

    def texts(self) -> _Texts:
        """All but Docker's own objects."""
        return _Texts({folder: files for folder, files in self._files.items() if folder != "docker"})


class _Texts(Mapping[str, str]):
    """Captured files as text, decoded when asked for: a report shows a few of them."""

    __slots__ = ("_folders",)

    def __init__(self, folders: Mapping[str, Mapping[str, bytes]]) -> None:
        self._folders = folders

    def __getitem__(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        return decode(self._folders[folder][name])

    def __iter__(self) -> Iterator[str]:
        return (f"{folder}/{name}" for folder, files in self._folders.items() for name in files)

    def __len__(self) -> int:
        return sum(len(files) for files in self._folders.values())


def _networks(bundle: Bundle, gaps: list[Gap]) -> tuple[DockerNetwork, ...]:
    data = bundle.files.get("docker/networks.json")
    if data is None:
        gaps.append(_docker_gap(bundle, "docker/networks.json", say("Docker's networks")))
        return ()
    parsed = parse_networks(data, "docker/networks.json")
    gaps.extend(parsed.gaps)
    return parsed.value


def _docker_gap(bundle: Bundle, path: str, what: str) -> Gap:
    record = bundle.records.get(path)
    if record is not None and record.error:
        detail = say("{what} could not be captured: {why}", what=what, why=record.error)
        return Gap(GapKind.FAILED, path, 0, detail, say("which pairs there are"))
    detail = say("{what} were not captured", what=what)
    return Gap(GapKind.MISSING, path, 0, detail, say("which pairs there are, and their names"))


def _containers(
    bundle: Bundle, networks: tuple[DockerNetwork, ...], gaps: list[Gap]
) -> tuple[tuple[Container, ...], bool]:
    data = bundle.files.get("docker/containers.json")
    if data is not None:
        parsed = parse_containers(data, "docker/containers.json")
        gaps.extend(parsed.gaps)
        return parsed.value, True
    gaps.append(_docker_gap(bundle, "docker/containers.json", say("Docker's containers")))
    return _members(networks), False


def _members(networks: tuple[DockerNetwork, ...]) -> tuple[Container, ...]:
    """Without `docker inspect`, the containers that the networks list."""
    found: dict[str, Container] = {}
    for network in networks:
        for member in network.members:
            ip = next((a for a in member.addresses if a.family == 4), None)
            ip6 = next((a for a in member.addresses if a.family == 6), None)
            endpoint = Endpoint(network.name, network.id, ip, ip6)
            old = found.get(member.container_id)
            name = member.name or member.container_id[:12]
            if old is None:
                old = Container(member.container_id, name, network_mode=network.name, evidence=network.evidence)
            found[member.container_id] = replace(old, endpoints=(*old.endpoints, endpoint))
    return tuple(found.values())


def _folders(readers: _Readers, containers: tuple[Container, ...], gaps: list[Gap]) -> dict[str, str]:
    """Container name to its folder in the bundle; folders are named by id or by name."""
    by_key = {c.name: c.name for c in containers} | {c.short_id: c.name for c in containers}
    found: dict[str, str] = {}
    for name in readers.owners("containers"):
        owner = by_key.get(name) or by_key.get(name[:12])
        if owner is None:
            owner = name
            detail = say("docker inspect has no container {name}", name=name)
            gaps.append(Gap(GapKind.INCONSISTENT, f"containers/{name}", 0, detail))
        found[owner] = name
    return found


def _from_folders(folders: Mapping[str, str], containers: tuple[Container, ...]) -> tuple[Container, ...]:
    known = {c.name for c in containers}
    return tuple(Container(name, name) for name in folders if name not in known)


def _netns_of(containers: tuple[Container, ...], folders: Mapping[str, str]) -> dict[str, str]:
    """Whose stack each running container uses."""
    by_key = {c.id: c for c in containers} | {c.name: c for c in containers} | {c.short_id: c for c in containers}
    found: dict[str, str] = {}
    for container in containers:
        owner: Container | None = container
        for _ in range(len(containers) + 1):
            if owner is None or not owner.joined_to:
                break
            owner = by_key.get(owner.joined_to) or by_key.get(owner.joined_to[:12])
        if not container.running:
            continue
        if owner is None or owner.joined_to:
            if container.name in folders:
                found[container.name] = container.short_id
            continue
        if owner.network_mode == "host":
            found[container.name] = HOST
        elif owner.running:
            found[container.name] = owner.short_id
    return found


def _read_containers(
    readers: _Readers,
    containers: tuple[Container, ...],
    folders: Mapping[str, str],
    netns_of: Mapping[str, str],
    netns: dict[str, Netns],
    gaps: list[Gap],
) -> None:
    """Every namespace once: from its owner's folder, else from that of a container that shares it."""
    ordered = sorted(containers, key=lambda c: netns_of.get(c.name) != c.short_id)
    for container in ordered:
        key = netns_of.get(container.name)
        if key is None or key == HOST:
            continue
        folder = folders.get(container.name)
        old = netns.get(key)
        if old is not None and (old.links is not None or folder is None):
            continue
        reader = readers.of(f"containers/{folder or container.short_id}", container.name)
        if (folder is not None and reader.has("ip-addr.json")) or reader.has("ip-addr.txt"):
            netns[key] = reader.read(key)
            gaps += reader.gaps
        elif old is None:
            reader.missing(
                "ip-addr.json", say("the network namespace"), say("every pair with {name}", name=container.name)
            )
            netns[key] = Netns(key)
            gaps += reader.gaps


def _read_stale_joins(
    readers: _Readers,
    containers: tuple[Container, ...],
    folders: Mapping[str, str],
    netns_of: dict[str, str],
    netns: dict[str, Netns],
) -> None:
    """A joined container keeps the namespace that its target had: another one, once the target was restarted.

    Its own copy tells: it shows none of the interfaces that the target has now.
    """
    for container in containers:
        folder, key = folders.get(container.name), netns_of.get(container.name)
        if folder is None or not container.joined_to or not container.running or key == container.short_id:
            continue
        reader = readers.of(f"containers/{folder}", container.name)
        own = reader.read(container.short_id)
        if own.links is None:
            continue
        if key is None or (_macs(netns[key]) and not _macs(netns[key]) & _macs(own)):
            netns_of[container.name] = own.id
            netns[own.id] = own


def _macs(space: Netns) -> set[str]:
    return {link.mac for link in space.links or () if link.mac and link.kind is not LinkKind.LOOPBACK}


def _name_files(
    readers: _Readers, containers: tuple[Container, ...], folders: Mapping[str, str]
) -> dict[str, NameFiles]:
    found = {}
    for container in containers:
        folder = folders.get(container.name)
        if folder is None:
            continue
        reader = readers.of(f"containers/{folder}", container.name)
        found[container.name] = NameFiles(reader.hosts, reader.resolv_conf)
    return found
