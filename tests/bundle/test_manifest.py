"""`manifest.json`, of any quality."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.bundle.manifest import MAX_TEXT, _decode_any, check_files, decode_manifest, encode_manifest, printable
from diag.model.bundle import SCHEMA_VERSION, Bundle, FileRecord
from diag.model.provenance import GapKind

RECORD = FileRecord("ip -j -d addr show", 0, "a warning", 0.25, "", "")
FAILED = FileRecord("nft -j list ruleset", None, "", 0.0, "", "nft is not installed")


def test_round_trip() -> None:
    bundle = Bundle(
        "live",
        {"host/ip-addr.json": b"[]", "host/hosts": b"x"},
        {"host/ip-addr.json": RECORD, "host/nft-ruleset.json": FAILED},
        "web-1",
        "2026-11-24T04:00:00Z",
    )
    manifest = decode_manifest(encode_manifest(bundle))
    assert (manifest.host, manifest.captured_at, manifest.gaps) == ("web-1", "2026-11-24T04:00:00Z", ())
    assert manifest.records.keys() == {"host/ip-addr.json", "host/hosts", "host/nft-ruleset.json"}
    assert manifest.records["host/nft-ruleset.json"] == FAILED
    kept = manifest.records["host/ip-addr.json"]
    assert (kept.command, kept.stderr, kept.duration) == (RECORD.command, RECORD.stderr, RECORD.duration)
    assert check_files(bundle.files, manifest.records) == ()
    assert {record.sha256 for record in decode_manifest(encode_manifest(bundle, checksums=False)).records.values()} == {
        ""
    }


def test_records_of_paths_that_are_known_and_of_others() -> None:
    text = b'{"schema_version": 1, "files": {"host/hosts": {"sha256": "A"}, "host/sysctl.txt": {}, "x/y": {}, "z": 1}}'
    for present in (set(), {"host/hosts"}):
        manifest = decode_manifest(text, present)
        assert list(manifest.records) == ["host/hosts", "host/sysctl.txt"]
        assert manifest.records == {"host/hosts": FileRecord("", sha256="A"), "host/sysctl.txt": FileRecord("")}
        assert "2 entries" in manifest.gaps[0].detail
    assert dict(manifest.records.checksums()) == {"host/hosts": "A", "host/sysctl.txt": None}
    assert "x/y" not in manifest.records
    assert manifest.records.get("x/y") is None


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.just(0), max_size=1)
)
RECORDS = st.dictionaries(st.sampled_from([*FileRecord.__struct_fields__, "more"]), VALUES, max_size=3)
PATHS = st.sampled_from(["host/hosts", "host/sysctl.txt", "x/y"])
MANIFESTS = st.dictionaries(
    st.sampled_from(["schema_version", "tool", "host", "captured_at", "time", "files"]),
    VALUES | st.dictionaries(PATHS, RECORDS | VALUES, max_size=3),
)


@given(MANIFESTS, st.booleans(), st.sampled_from(["", "\ufeff", "é", "\x1f", '"', ",", "}", "9" * 4301]), st.data())
def test_a_manifest_of_known_fields_only_is_read_as_any(
    document: dict[str, object], ascii_only: bool, damage: str, data: st.DataObject
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    place = data.draw(st.integers(0, len(text)))
    content = (text[:place] + damage + text[place:]).encode("utf-8", "surrogatepass")
    for present in (set(), {"host/hosts"}):
        one, other = decode_manifest(content, present), _decode_any(content, present)
        assert (one.host, one.captured_at, one.gaps) == (other.host, other.captured_at, other.gaps)
        assert list(one.records.items()) == list(other.records.items())


def test_a_checksum_may_be_in_capitals() -> None:
    files = {"host/hosts": b"x"}
    digest = hashlib.sha256(b"x").hexdigest().upper()
    for said, gaps in ((digest, 0), (f" {digest}\n", 0), (f"{digest}0", 1)):
        text = json.dumps({"schema_version": 1, "files": {"host/hosts": {"sha256": said}}}).encode()
        assert len(check_files(files, decode_manifest(text).records)) == gaps


def test_changed_files_are_noticed() -> None:
    bundle = Bundle("live", {"host/hosts": b"x", "host/sysctl.txt": b"y"})
    records = decode_manifest(encode_manifest(bundle)).records
    (gap,) = check_files({"host/hosts": b"X", "host/sysctl.txt": b"y"}, records)
    assert (gap.kind, gap.file) == (GapKind.INCONSISTENT, "host/hosts")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"1" * 5000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "schema version None"),
        (b'{"schema_version": 99}', "schema version 99"),
        (b'{"schema_version": 1, "files": []}', "1 entries in `files`"),
        (b'{"schema_version": 1, "files": {"../x": {}, "host/hosts": 1}}', "2 entries in `files`"),
    ],
)
def test_bad_manifests_are_gaps(text: bytes, said: str) -> None:
    (gap,) = decode_manifest(text).gaps
    assert (gap.kind, gap.file) == (GapKind.UNREADABLE, "manifest.json")
    assert said in gap.detail


def test_fields_of_wrong_types_are_defaults() -> None:
    fields: dict[str, object] = {
        "command": 1,
        "exit_status": True,
        "stderr": None,
        "duration": -1,
        "sha256": [],
        "error": {},
    }
    text = json.dumps({"schema_version": SCHEMA_VERSION, "files": {"host/hosts": fields}})
    assert decode_manifest(text.encode()).records["host/hosts"] == FileRecord("")
    for duration in ("1e999", "NaN", str(10**400), "true"):
        raw = f'{{"schema_version": 1, "files": {{"host/hosts": {{"duration": {duration}}}}}}}'
        assert decode_manifest(raw.encode()).records["host/hosts"].duration == 0.0


def test_printable() -> None:
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("\x1b[2J\u202e") == "\\x1b[2J\\u202e"
    assert len(printable("x" * 10_000)) == MAX_TEXT + 1
