"""The fault suite, each kind a few times; `make faults` runs the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history import faults
from tests.history.faults import Lab, Tally


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("faults"), faults.KEEPER, hours=faults.KEEP)


def survived(tally: Tally) -> bool:
    print(tally)  # noqa: T201  pytest shows it when it fails
    return tally.tried > 0 and not tally.problems


@pytest.mark.apart
def test_killed(lab: Lab) -> None:
    assert survived(faults.kills(lab, 4))
    assert survived(faults.steps(lab, every=12))


@pytest.mark.apart
def test_two_at_once(lab: Lab) -> None:
    assert survived(faults.pairs(lab, 2))


@pytest.mark.apart
def test_damage_and_clocks(lab: Lab) -> None:
    assert survived(faults.damaged_newest(lab, 1))
    assert survived(faults.damaged_file(lab, "index.sqlite", 1))
    assert survived(faults.clock(lab, 1))


@pytest.mark.live
def test_full_disk(lab: Lab) -> None:
    assert survived(faults.full_disk(lab, 2))


@pytest.mark.live
def test_a_daemon_that_hangs(lab: Lab) -> None:
    assert survived(faults.hung_daemon(lab, 1))


@pytest.mark.apart
def test_the_whole_program_is_killed(tmp_path: Path) -> None:
    assert survived(faults.kills(Lab(tmp_path, hours=faults.KEEP), 2))


@pytest.mark.apart
def test_what_is_lost_is_seen(tmp_path: Path) -> None:
    lab = Lab(tmp_path, faults.KEEPER, hours=2)
    state = lab.state("broken", 1)
    before = faults.contents(state)
    assert list(before) == [1]
    (state / "snapshots" / "00000001.tar.zst").unlink()
    assert lab.after(state, before) == "lost before the next run: [1]"
    (state / "index.sqlite").unlink()
    (state / "index.sqlite").mkdir()
    assert lab.after(state, {}).startswith("the next run fails")
