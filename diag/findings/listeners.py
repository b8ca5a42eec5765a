"""All sockets of a namespace, where the capture can be trusted to show all: that none is there is a fact only then."""

from __future__ import annotations

from diag.model.netns import Netns, Socket
from diag.model.snapshot import Snapshot


def all_sockets(snapshot: Snapshot, space: Netns, protocol: str) -> tuple[Socket, ...] | None:
    """Those of `tcp` or `udp`; None where those of IPv4 or of IPv6, which take IPv4 too, were not captured."""
    folder = _folder(space)
    if not space.sockets or f"{folder}/proc-net-{protocol}.txt" not in snapshot.files:
        return None
    # A kernel without IPv6 has no such file, and then nobody's is captured.
    if f"{folder}/proc-net-{protocol}6.txt" not in snapshot.files and _has_ipv6(snapshot):
        return None
    return tuple(s for s in space.sockets if s.protocol == protocol)


def _folder(space: Netns) -> str:
    """Where its files are: a container's may be named by id or by name."""
    if space.id == "host":
        return space.id
    cited = (s.evidence.file for s in space.sockets or () if s.evidence is not None)
    return next(cited, "").rpartition("/")[0]


def _has_ipv6(snapshot: Snapshot) -> bool:
    return any(file.endswith(("proc-net-tcp6.txt", "ip6-route.json", "ip6-route.txt")) for file in snapshot.files)
