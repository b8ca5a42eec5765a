"""`diag check` as cron has it: what it says, when it is silent, its exit status, and what it leaves behind."""

from __future__ import annotations

import json
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.bundle.writer import write_bundle
from diag.cli import cli
from diag.cli.time_limit import time_limit
from diag.errors import DiagError, UsageError
from diag.history.store import Store
from diag.model.bundle import Bundle
from diag.notify import webhook
from tests.loading import bundle_path

pytestmark = pytest.mark.apart
SEED = str(bundle_path("seed-d20"))
FORWARD_OFF = str(bundle_path("forward_off-d29"))


def run(*words: str) -> Result:
    """The exit status as the program has it; errors are raised."""
    found = CliRunner().invoke(cli, words, standalone_mode=False)
    if isinstance(found.exception, DiagError):
        found.exit_code, found.stderr_bytes = 2, f"{found.stderr}{found.exception}".encode()
    elif found.exception is not None:
        raise found.exception
    else:
        found.exit_code = found.return_value
    return found


def check(*words: str) -> Result:
    return run("check", "--lang", "en", *words)


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def dropping(tmp_path: Path) -> str:
    """The seed with a rule that drops what a container says to its neighbour."""
    bundle = read_bundle(SEED)
    path = "host/iptables-save.txt"
    text = bundle.files[path].decode()
    changed = text.replace(
        "-A DOCKER-USER -j RETURN", "-A DOCKER-USER -s 173.20.0.4/32 -j DROP\n-A DOCKER-USER -j RETURN"
    )
    assert changed != text
    return _written(replace(bundle, files={**bundle.files, path: changed.encode()}), tmp_path / "dropping.tar.gz")


def _written(bundle: Bundle, path: Path) -> str:
    write_bundle(bundle, str(path))
    return str(path)


def test_a_healthy_host_is_one_line_or_none() -> None:
    said = check("-f", SEED)
    assert (said.exit_code, said.stdout.strip()) == (0, "dockerhost is as it should be.")
    silent = check("-f", SEED, "--quiet")
    assert (silent.exit_code, silent.output) == (0, "")


def test_a_fault_is_told_even_quietly() -> None:
    found = check("-f", FORWARD_OFF, "--quiet")
    assert found.exit_code == 1
    assert "forwarding-disabled" in found.stdout
    assert "sysctl -w net.ipv4.ip_forward=1" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80


def test_fail_on_says_which_findings_count() -> None:
    assert check("-f", FORWARD_OFF, "--fail-on", "error").exit_code == 1
    filtered = str(bundle_path("user_rules-d20"))
    assert check("-f", filtered).exit_code == 0, "an administrator's rules may well be meant"
    assert check("-f", filtered, "--fail-on", "info").exit_code == 1


def test_what_cannot_be_looked_at_is_status_2(tmp_path: Path) -> None:
    assert check("-f", str(tmp_path / "nothing")).exit_code == 2


def test_the_first_run_is_the_baseline_and_the_second_says_nothing(state: str) -> None:
    assert check("-f", SEED, "--state", state, "--quiet").output == ""
    second = check("-f", SEED, "--state", state, "--quiet")
    assert (second.exit_code, second.output) == (0, "")
    store = Store.open(state)
    assert [entry.id for entry in store.records()] == [1, 2]
    baseline = store.baseline()
    assert baseline is not None
    assert baseline.id == 1


def test_a_flipped_verdict_is_told_with_its_cause_until_it_is_accepted(state: str, dropping: str) -> None:
    check("-f", SEED, "--state", state)
    broken = check("-f", dropping, "--state", state, "--quiet")
    assert broken.exit_code == 1
    assert "173.20.0.4/32 -j DROP" in broken.stdout
    assert "Since the baseline:" in broken.stdout
    again = check("-f", dropping, "--state", state, "--quiet")
    assert again.exit_code == 1
    assert run("baseline", "accept", "--state", state).exit_code == 0
    accepted = check("-f", dropping, "--state", state, "--quiet")
    assert (accepted.exit_code, accepted.output) == (0, "")


def test_what_was_mended_is_told_once(state: str, dropping: str) -> None:
    for source in (SEED, dropping):
        check("-f", source, "--state", state)
    mended = check("-f", SEED, "--state", state, "--quiet")
    assert mended.exit_code == 0
    assert "Since the last run:" in mended.stdout
    assert check("-f", SEED, "--state", state, "--quiet").output == ""


def test_accepted_findings_are_silent(state: str) -> None:
    assert check("-f", FORWARD_OFF, "--state", state).exit_code == 1
    assert check("-f", FORWARD_OFF, "--state", state).exit_code == 1, "the first run accepts nothing by itself"
    run("baseline", "accept", "--state", state)
    after = check("-f", FORWARD_OFF, "--state", state)
    assert after.exit_code == 0
    assert "accepted with the baseline" in after.stdout


def test_a_policy_takes_the_place_of_the_baseline(state: str, dropping: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nreach:\n  - from: modest_swartz\n    to: goofy_swartz\n")
    held = check("-f", SEED, "--policy", str(policy), "--state", state)
    assert (held.exit_code, held.stdout) == (0, "dockerhost is as it should be.\n")
    failed = check("-f", dropping, "--policy", str(policy), "--state", state)
    assert failed.exit_code == 1
    assert "goofy_swartz" in failed.stdout
    assert "Since the baseline:" not in failed.stdout


def test_outputs(tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("prom", "junit", "sarif")}
    options = ("--prometheus", files["prom"], "--junit", files["junit"], "--sarif", files["sarif"], "--format", "json")
    found = check("-f", FORWARD_OFF, *map(str, options))
    assert found.exit_code == 1
    assert json.loads(found.stdout)["healthy"] is False
    assert "docker_diag_healthy 0.0" in files["prom"].read_text()
    assert files["prom"].stat().st_mode & 0o777 == 0o644
    assert ET.fromstring(files["junit"].read_text()).tag == "testsuites"  # noqa: S314  our own
    assert json.loads(files["sarif"].read_text())["version"] == "2.1.0"


def test_metrics_say_when_the_check_could_not_look(tmp_path: Path) -> None:
    metrics = tmp_path / "diag.prom"
    assert check("-f", str(tmp_path / "nothing"), "--prometheus", str(metrics)).exit_code == 2
    assert "docker_diag_up 0.0" in metrics.read_text()


def test_a_webhook_that_is_not_told_is_no_good_news(state: str, dropping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook.notify, "__defaults__", (webhook.Limits(attempts=1),))
    nobody = ("--webhook", "http://127.0.0.1:9/")
    check("-f", SEED, "--state", state)
    assert check("-f", SEED, "--state", state, *nobody).exit_code == 0, "there is nothing to tell"
    assert check("-f", dropping, "--state", state, *nobody).exit_code == 1
    mended = check("-f", SEED, "--state", state, *nobody)
    assert mended.exit_code == 2
    assert "webhook at 127.0.0.1 was not told" in mended.stderr


def test_a_webhook_address_with_a_password_is_refused() -> None:
    refused = check("-f", FORWARD_OFF, "--webhook", "https://me:secret@hooks.example.org/")
    assert isinstance(refused.exception, UsageError)
    assert "secret" not in str(refused.exception)


def test_a_damaged_snapshot_is_told_and_the_check_goes_on(state: str) -> None:
    check("-f", SEED, "--state", state)
    (snapshot,) = (Path(state) / "snapshots").iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    found = check("-f", SEED, "--state", state)
    assert found.exit_code == 0
    assert "damaged" in found.stderr


def test_what_is_wrong_is_told_though_the_disk_is_full(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise DiagError(f"cannot store the snapshot in the state folder {state}", why="No space left on device")

    monkeypatch.setattr(Store, "add", full)
    found = check("-f", FORWARD_OFF, "--state", state)
    assert found.exit_code == 2
    assert "No space left" in found.stderr


def test_a_host_whose_engine_says_nothing_is_not_healthy(state: str, tmp_path: Path) -> None:
    bundle = read_bundle(SEED)
    files = {path: data for path, data in bundle.files.items() if not path.startswith("docker/")}
    mute = _written(replace(bundle, files=files), tmp_path / "mute.tar.gz")
    found = check("-f", mute, "--state", state)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "cannot check the host" in found.stderr


def test_time_is_limited() -> None:
    started = time.monotonic()
    with pytest.raises(DiagError, match="took longer than"), time_limit(0.05, "it"):
        time.sleep(5)
    assert time.monotonic() - started < 3
