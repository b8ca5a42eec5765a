"""The packet filter of the calling thread's namespace: iptables in both variants, nftables, ipset.

Nothing is run that could create what it looks for. Listing a legacy table loads its module and makes the table, so the
legacy tools are run only where `/proc/net/ip_tables_names` shows tables; and where the kernel says that a namespace has
no nftables table either, which is most containers, nothing is run at all.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import struct
from pathlib import Path

from diag.capture.command import find_program, run_program
from diag.capture.iptc_save import save as save_with_iptc
from diag.capture.steps import Output, Step, UnavailableError

_NO_LEGACY = b"# this namespace has no legacy tables\n"
_NO_NFT = b"# this namespace has no nftables tables of this family, so iptables-nft has no rules\n"
_NO_SETS = b"# no rule uses a set\n"


def steps(folder: str, limit: float) -> tuple[Step, ...]:
    """The packet filter of a namespace, as files below `folder`; `limit` seconds for each program."""
    rules = _Rules(folder, limit)
    return (
        Step(f"{folder}/iptables-save.txt", "iptables-nft-save -c", lambda: rules.iptables("ip")),
        Step(f"{folder}/iptables-legacy-save.txt", "iptables-legacy-save -c", lambda: rules.legacy("ip")),
        Step(f"{folder}/ip6tables-save.txt", "ip6tables-nft-save -c", lambda: rules.iptables("ip6")),
        Step(f"{folder}/ip6tables-legacy-save.txt", "ip6tables-legacy-save -c", lambda: rules.legacy("ip6")),
        Step(f"{folder}/nft-ruleset.json", "nft -j list ruleset", rules.nft),
        Step(f"{folder}/ipset.txt", "ipset save", rules.ipset),
    )


class _Rules:
    """The collectors of one namespace, which share what the kernel said first."""

    def __init__(self, folder: str, limit: float) -> None:
        self._folder = folder
        self._limit = limit
        self._uses_sets = False

    @functools.cached_property
    def _nft(self) -> frozenset[int] | None:
        return nft_families()

    def _save(self, program: str) -> Output:
        output = run_program([program, "-c"], self._limit)
        self._uses_sets = self._uses_sets or b"-set " in output.content
        return output

    def iptables(self, family: str) -> Output:
        """The nft variant; the legacy one where there is no other."""
        nft, legacy = variants(family)
        if nft:
            none = self._nft is not None and _FAMILY[family] not in self._nft
            return Output(_NO_NFT) if none else self._save(nft)
        if legacy:
            return self._save(legacy) if legacy_tables(family) else Output(_NO_LEGACY)
        if not legacy_tables(family):
            return Output(_NO_LEGACY)
        if self._folder != "host":
            raise UnavailableError(f"{family}tables-save is not installed")
        return save_with_iptc(family, legacy_tables(family))

    def legacy(self, family: str) -> Output | None:
        """The legacy variant beside the nft one; no file where it has no tables or is the only one."""
        nft, legacy = variants(family)
        if not nft or not legacy_tables(family):
            return None
        if not legacy:
            raise UnavailableError(f"there are legacy tables, and {family}tables-legacy-save is not installed")
        return self._save(legacy)

    def nft(self) -> Output:
        if self._nft is not None and not self._nft:
            return Output(b'{"nftables": []}\n')
        try:
            listing = run_program(["nft", "-j", "list", "ruleset"], self._limit)
            if not _lacks_devices(listing.content):
                return listing
        except UnavailableError as error:
            if "JSON" not in str(error):
                raise
        text = run_program(["nft", "list", "ruleset"], self._limit)
        return Output(text.content, text.exit_status, text.stderr, text.incomplete, f"{self._folder}/nft-ruleset.txt")

    def ipset(self) -> Output:
        """The sets; in a container only if a rule uses one, and on a host without `ipset` it is enough if none does."""
        needed = self._uses_sets or (self._folder == "host" and find_program("ipset") is not None)
        return run_program(["ipset", "save"], self._limit) if needed else Output(_NO_SETS)


def _lacks_devices(listing: bytes) -> bool:
    """nft 1.0.6 leaves the devices of chains out of its JSON."""
    if b"gress" not in listing:
        return False
    try:
        objects = json.loads(listing)["nftables"]
    except (ValueError, KeyError):
        return False
    chains = [item["chain"] for item in objects if "chain" in item]
    return any(chain.get("hook") in ("ingress", "egress") and "dev" not in chain for chain in chains)


@functools.cache
def variants(family: str) -> tuple[str | None, str | None]:
    """The programs that save the nft and the legacy variant's rules, of `ip` or `ip6`; None where there is none."""
    nft, legacy = (f"{family}tables-{kind}-save" for kind in ("nft", "legacy"))
    plain = f"{family}tables-save"
    found_nft = nft if find_program(nft) else None
    found_legacy = legacy if find_program(legacy) else None
    if find_program(plain) and not (found_nft and found_legacy):
        if _is_nft_variant(plain):
            found_nft = found_nft or plain
        else:
            found_legacy = found_legacy or plain
    return found_nft, found_legacy


def _is_nft_variant(program: str) -> bool:
    """By what `--version` says since 1.8.0; before that there was only the legacy variant."""
    try:
        said = run_program([program, "--version"], 5.0)
    except UnavailableError:
        return False
    return b"nf_tables" in said.content


def legacy_tables(family: str) -> list[str]:
    """The legacy tables that the namespace has. Raises PermissionError when only root may know."""
    try:
        names = Path(f"/proc/thread-self/net/{family}_tables_names").read_text("ascii", "replace")
    except FileNotFoundError:
        return []
    return [name for name in names.split() if re.fullmatch(r"[a-z0-9_]+", name)]


_REQUEST, _DUMP = 0x1, 0x300
_DONE, _ERROR = 3, 2
_NETLINK_NETFILTER = 12
_NFTABLES = 10
_GET_TABLE = 1
_HEADER = struct.Struct("=IHHII")
_FAMILY = {"ip": 2, "ip6": 10}


def nft_families() -> frozenset[int] | None:
    """The families that have nftables tables (2 IPv4, 10 IPv6, 1 both…) in the calling thread's namespace.

    None when the kernel does not say: no permission, or no nftables.
    """
    found: set[int] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as channel:
            channel.settimeout(2.0)
            body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
            kind = _NFTABLES << 8 | _GET_TABLE
            channel.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 1, 0) + body)
            while _take(channel.recv(1 << 16), found):
                pass
    except (OSError, struct.error, _RefusedError):
        return None
    return frozenset(found)


class _RefusedError(Exception):
    pass


def _take(answer: bytes, found: set[int]) -> bool:
    """Note the families of one datagram of tables; whether there are more to come."""
    at = 0
    while at < len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or length < _HEADER.size:
            raise _RefusedError
        found.add(answer[at + _HEADER.size])
        at += (length + 3) & ~3
    return True
