"""No verdict depends on a Docker version or a chain's name: names only help the wording."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

import pytest

from diag.bundle.reader import read_bundle
from diag.model.bundle import Bundle
from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer
from tests.loading import EACH_CAPTURE, answers_of, bundle_path, question, truth_of


class Renamed:
    """The bundle with other names for all chains that somebody made, the same in every file."""

    def __init__(self, bundle: Bundle) -> None:
        self.names: dict[str, str] = {}
        saves = {name: data for name, data in bundle.files.items() if name.endswith("tables-save.txt")}
        lists = {name: json.loads(data) for name, data in bundle.files.items() if name.endswith("nft-ruleset.json")}
        for data in saves.values():
            for chain in re.findall(r"^:(\S+) - ", data.decode(), re.MULTILINE):
                self._add(chain)
        for listed in lists.values():
            for item in listed["nftables"]:
                chain = item.get("chain", {})
                if chain.get("name") not in ("INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING", None):
                    self._add(chain["name"])
        files = dict(bundle.files)
        files |= {name: self._save(data.decode()).encode() for name, data in saves.items()}
        files |= {name: json.dumps(self._value(listed)).encode() for name, listed in lists.items()}
        self.bundle = Bundle(bundle.host, MappingProxyType(files))

    def _add(self, chain: str) -> None:
        self.names.setdefault(chain, f"chain{len(self.names)}")

    def _save(self, text: str) -> str:
        def changed(match: re.Match[str]) -> str:
            return match[1] + self.names.get(match[2], match[2])

        return re.sub(r"(^:|^-A |^\[\d+:\d+\] -A | -j | -g )(\S+)", changed, text, flags=re.MULTILINE)

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self._value(item) for key, item in value.items()}
        for key in ("chain", "target"):
            if isinstance(found.get(key), str):
                found[key] = self.names.get(found[key], found[key])
        if isinstance(found.get("chain"), dict):
            found["chain"]["name"] = self.names.get(found["chain"]["name"], found["chain"]["name"])
        return found


def without_versions(bundle: Bundle) -> Bundle:
    return Bundle(bundle.host, MappingProxyType({k: v for k, v in bundle.files.items() if k != "docker/version.json"}))


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_verdicts_stay_when_chains_are_renamed(name: str) -> None:
    renamed = Renamed(read_bundle(str(bundle_path(name))))
    assert any(chain.startswith("DOCKER") or "docker" in name or "__" in chain for chain in renamed.names), (
        renamed.names
    )
    after = FlowAnswerer(build_snapshot(without_versions(renamed.bundle)))
    for flow, old in zip(truth_of(name)["flows"], answers_of(name), strict=True):
        asked = question(flow)
        new = after.answer(asked)
        assert {k: old[k] for k in ("disposition", "symptom")} == {k: new[k] for k in ("disposition", "symptom")}, asked
