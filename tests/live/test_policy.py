"""A policy of a real host: it holds, and says what a change on the host breaks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diag.bundle.reader import read_bundle
from diag.model.analysis import Analysis
from diag.parse.snapshot import build_snapshot
from diag.policy.judge import judge
from diag.policy.loader import load_policy
from diag.reach.analysis import analyse
from tests.live.lab import Engine

DIAG = [sys.executable, "-m", "diag"]
NETWORK = "shop_default"
COMPOSE = """
name: shop
services:
  web: {depends_on: [db]}
  db: {expose: ["5432"]}
"""
BY_LABEL = """
version: 1
reach:
  - {from: {label: tier=front}, to: {label: tier=data}, ports: tcp/5432}
"""


@pytest.fixture
def shop(engine: Engine) -> Iterator[Engine]:
    """Two services as Compose starts them."""
    names = []
    engine.docker("network", "create", NETWORK)
    for service, tier in (("web", "front"), ("db", "data")):
        labels = {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "tier": tier,
            "token": "swordfish",
        }
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        name = f"shop-{service}-1"
        engine.run_container(name, "--network", NETWORK, "--network-alias", service, *words)
        names.append(name)
    engine.settle()
    yield engine
    engine.docker("rm", "-f", *names)
    engine.docker("network", "rm", NETWORK)


def captured(engine: Engine, path: Path) -> Analysis:
    done = engine.run(*DIAG, "capture", "--label", "tier", "-o", str(path))
    assert done.returncode == 0, done.stderr
    bundle = read_bundle(str(path))
    assert b"swordfish" not in bundle.files["docker/containers.json"]
    return analyse(build_snapshot(bundle))


def test_it_says_what_a_change_breaks(shop: Engine, tmp_path: Path) -> None:
    analysis = captured(shop, tmp_path / "before.tar.gz")
    policies = {"today": shop.run(*DIAG, "policy", "init", "-f", str(tmp_path / "before.tar.gz")).stdout}
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    policies["compose"] = shop.run(*DIAG, "policy", "init", "--compose", str(tmp_path / "compose.yaml")).stdout
    policies["labels"] = BY_LABEL
    read = {name: load_policy(text, f"{name}.yaml") for name, text in policies.items()}
    for policy in read.values():
        assert [(e.id, e.explanation) for e in judge(policy, analysis) if e.held is not True] == []

    shop.docker("network", "disconnect", NETWORK, "shop-db-1")
    after = captured(shop, tmp_path / "after.tar.gz")
    for policy in read.values():
        broken = [e for e in judge(policy, after) if e.held is not True]
        assert broken
        for expectation in broken:
            assert "shop" in expectation.text or "tier" in expectation.text
    (found,) = judge(read["labels"], after)
    assert found.subject == ("shop-web-1", "shop-db-1")
    assert [fix.command for fix in found.fixes] == [f"docker network connect {NETWORK} shop-db-1"]
