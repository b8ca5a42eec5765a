"""What the page on deploying says of the files beside it, and of the engine's socket, is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from diag.capture.docker_context import Address
from diag.capture.docker_engine import Engine
from diag.capture.steps import Job, run_jobs
from diag.notify.webhook import SECRET, TOKEN, Limits
from tests.capture.fake_engine import FakeEngine
from tests.contrib.units import CONTRIB, PROGRAM, capabilities

PAGE = (CONTRIB.parent / "docs/deploying.md").read_text()
RUN = CONTRIB / "docker/run.sh"


def test_every_file_of_contrib_is_on_the_page() -> None:
    named = set(re.findall(r"contrib/[\w./-]*\w", PAGE))
    files = {path.relative_to(CONTRIB.parent).as_posix() for path in CONTRIB.rglob("*") if path.is_file()}
    assert named - {"contrib"} == files


def test_the_cron_job_is_one_line_of_cron() -> None:
    lines = (CONTRIB / "cron/docker-diag").read_text().splitlines()
    (job,) = [line for line in lines if line and not line.startswith("#") and not re.match(r"\w+=", line)]
    words = job.split()
    assert re.fullmatch(r"[0-9*/,-]+ [0-9*/,-]+ \* \* \*", " ".join(words[:5]))
    assert words[5] == "root"
    assert f"{PROGRAM} check --quiet" in job
    assert "%" not in job  # a line break to cron


def test_service_and_container_have_the_same_rights() -> None:
    given = re.findall(r"--cap-add=(\w+)", RUN.read_text())
    assert sorted(name.lower() for name in given) == sorted(capabilities())
    assert sorted(re.findall(r"`CAP_(\w+)` \|", PAGE)) == sorted(given)
    assert "--cap-drop=ALL" in RUN.read_text()


@pytest.mark.apart
def test_the_script_is_one_of_a_posix_shell() -> None:
    subprocess.run(["sh", "-n", str(RUN)], check=True)


def test_a_proxy_that_lets_through_what_the_page_says_is_enough(tmp_path: Path) -> None:
    (pattern,) = re.findall(r"-allowGET=(.*)", PAGE)
    one = {"Id": "a" * 64, "Name": "/web", "Names": ["/web"]}
    answers = {
        "/networks": [one],
        "/containers/json": [one],
        f"/networks/{one['Id']}": one,
        f"/containers/{one['Id']}/json": {**one, "State": {}, "HostConfig": {}, "NetworkSettings": {}},
    }
    fake = FakeEngine(tmp_path / "docker.sock", answers)
    try:
        engine = Engine(Address(fake.url), 5.0)
        items = run_jobs([Job("engine", engine.steps())], limit=10.0)
        engine.close()
    finally:
        fake.shutdown()
        fake.server_close()
    assert [item.record.error for item in items if item.record.error] == []
    asked = {path.partition("?")[0] for path in fake.asked}
    assert len(asked) >= 6
    assert all(re.fullmatch(pattern, path) for path in asked), asked


def test_the_webhooks_limits_and_variables_are_those_of_the_page() -> None:
    limits = Limits()
    text = " ".join(PAGE.split())
    assert TOKEN in text
    assert SECRET in text
    pauses = [int(limits.pause * 2**number) for number in range(limits.attempts - 1)]
    assert (
        f"at most {limits.attempts} attempts, with pauses of {pauses[0]}, {pauses[1]} and {pauses[2]} seconds" in text
    )
    assert f"{limits.attempt:g} seconds for each answer, and {limits.total:g} seconds for it all" in text
