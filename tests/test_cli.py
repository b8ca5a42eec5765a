"""The real command line, also on bad input: one clear line, never a traceback."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.loading import FIXTURES, bundle_path

pytestmark = pytest.mark.apart
SEED = str(bundle_path("seed-d20"))


def diag(*arguments: str, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "diag", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, env={**os.environ, **environment})


def unpacked(folder: Path) -> Path:
    with tarfile.open(SEED) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bundle"


def one_line(process: subprocess.CompletedProcess[bytes]) -> str:
    text = process.stderr.decode()
    assert process.returncode == 2, text
    assert "Traceback" not in text
    assert text.startswith("diag: ")
    assert len(text.strip().splitlines()) == 1, text
    return text


def test_explain_exit_statuses() -> None:
    assert diag("explain", "ng1", "ng2", "-f", SEED).returncode == 0
    blocked = diag("explain", "objective_blackburn", "goofy_swartz", "-f", SEED)
    assert blocked.returncode == 1
    assert b"docker network connect test_net2 objective_blackburn" in blocked.stdout


def test_explain_json() -> None:
    document = json.loads(diag("explain", "ng1", "ng2", "-f", SEED, "--format", "json").stdout)
    assert {
        "source",
        "destination",
        "reachability",
        "reason",
        "explanation",
        "paths",
        "names",
        "listeners",
        "fixes",
    } <= set(document)
    assert document["paths"][0]["hops"]
    assert document["paths"][0]["hops_back"]


def test_trace_answers_in_order_and_goes_on_after_a_bad_line(tmp_path: Path) -> None:
    flows = tmp_path / "flows.jsonl"
    lines = [
        '{"source": "ng1", "name": "ng2", "tag": 7}',
        "no json",
        '{"source": "nobody", "name": "ng2"}',
        '{"source": "ng1", "name": "ng2", "protocol": "tcp", "port": 80}',
    ]
    flows.write_text("\n".join(lines))
    process = diag("trace", "--flows", str(flows), "--from", SEED)
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == 2
    assert (answers[0]["via"], answers[0]["tag"]) == ("embedded-dns", 7)
    assert "error" in answers[1]
    assert "nobody" in answers[2]["error"]
    assert (answers[3]["disposition"], answers[3]["reason"]) == ("delivered", "same-bridge")


def test_many_flows_of_a_file_are_answered_like_those_of_a_pipe(tmp_path: Path) -> None:
    ask = '{{"source": "ng{}", "name": "ng{}", "protocol": "tcp", "port": {}}}\n'
    lines = "".join(ask.format(1 + n % 7, 1 + n % 5, 79 + n % 3) for n in range(4_100)) + "no json\n"
    flows = tmp_path / "flows.jsonl"
    flows.write_text(lines)
    of_file = diag("trace", "--flows", str(flows), "--from", SEED)
    of_pipe = diag("trace", "--flows", "-", "--from", SEED, stdin=lines.encode())
    assert of_file.stdout == of_pipe.stdout
    assert of_file.returncode == of_pipe.returncode == 2
    assert len(of_file.stdout.splitlines()) == 4_101


@pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
def test_pairs(form: str) -> None:
    process = diag("pairs", "-f", SEED, "--format", form)
    assert process.returncode == 0
    lines = process.stdout.decode().splitlines()
    assert len(lines) >= 156
    if form == "jsonl":
        row = json.loads(lines[0])
        assert list(row) == ["source", "destination", "family", "address", "reachability", "allowed", "reason", "names"]


def test_pairs_with_host_and_world() -> None:
    rows = [
        json.loads(line)
        for line in diag("pairs", "-f", SEED, "--format", "jsonl", "--endpoints", "all").stdout.splitlines()
    ]
    reserved = {(row["source"], row["destination"]) for row in rows if "@" in row["source"] + row["destination"]}
    assert {("@host", "@world"), ("@world", "@host")} <= reserved
    containers = {name for pair in reserved for name in pair if not name.startswith("@")}
    assert len(reserved) == 4 * len(containers) + 2


def test_report_writes_every_format(tmp_path: Path) -> None:
    names = [str(tmp_path / f"r.{suffix}") for suffix in ("html", "pdf", "md", "json", "txt")]
    process = diag("report", "-f", SEED, *(word for name in names for word in ("-o", name)))
    assert process.returncode == 0, process.stderr
    assert Path(names[1]).read_bytes().startswith(b"%PDF-")
    assert all(Path(name).stat().st_size > 1000 for name in names)
    assert diag("report", "-f", SEED, "-o", "-", "--format", "txt").stdout == Path(names[4]).read_bytes()


def test_a_bundle_from_standard_input() -> None:
    content = Path(SEED).read_bytes()
    assert diag("explain", "ng1", "ng2", "-f", "-", stdin=content).returncode == 0


def test_an_empty_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in one_line(diag("report", "-f", str(tmp_path)))


def test_nothing_there() -> None:
    one_line(diag("report", "-f", "/nonexistent/bundle.tar.gz"))


def test_a_truncated_archive_gives_gaps_or_one_line(tmp_path: Path) -> None:
    content = Path(SEED).read_bytes()
    for share in (0.02, 0.3, 0.6, 0.95):
        cut = tmp_path / "cut.tar.gz"
        cut.write_bytes(content[: int(len(content) * share)])
        process = diag("report", "-f", str(cut), "-o", "-", "--format", "json")
        assert b"Traceback" not in process.stderr
        if process.returncode == 0:
            assert json.loads(process.stdout)["gaps"]
        else:
            one_line(process)


def test_a_json_file_cut_in_half(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    path = folder / "docker/containers.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    document = json.loads(diag("report", "-f", str(folder), "-o", "-", "--format", "json").stdout)
    assert any(gap["file"] == "docker/containers.json" for gap in document["gaps"])
    assert document["containers"]


def test_a_bundle_without_rules_is_unknown_not_guessed(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    for name in ("iptables-save.txt", "iptables-legacy-save.txt", "nft-ruleset.json"):
        (folder / "host" / name).unlink(missing_ok=True)
    process = diag("explain", "objective_blackburn", "goofy_swartz", "-f", str(folder))
    assert process.returncode == 3
    assert b"cannot be told" in process.stdout
    assert b"iptables-save.txt" in process.stdout


def test_an_archive_that_climbs_out(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("../evil.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    one_line(diag("report", "-f", str(path)))
    assert not (tmp_path.parent / "evil.txt").exists()


def test_an_unknown_container() -> None:
    assert "nobody" in one_line(diag("explain", "nobody", "ng1", "-f", SEED))


def test_usage_errors_are_one_line() -> None:
    one_line(diag("report", "-f", SEED, "-o", "report.docx"))
    one_line(diag("explain", "ng1", "ng2", "--port", "80", "-f", SEED))
    one_line(diag("nonsense"))


def test_no_docker_socket_is_a_report_with_gaps_or_one_line() -> None:
    process = diag("report", "-o", "-", "--format", "json", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert b"Traceback" not in process.stderr
    if process.returncode == 0:
        gaps = json.loads(process.stdout)["gaps"]
        assert any(gap["file"] == "docker/containers.json" for gap in gaps)
    else:
        one_line(process)


def test_the_seed_as_text_gives_a_report_with_gaps() -> None:
    process = diag("report", "-f", str(FIXTURES / "seed-text"), "-o", "-", "--format", "json")
    assert process.returncode == 0
    document = json.loads(process.stdout)
    assert document["gaps"]
    roles = {i["name"]: i["role"] for i in document["host"]["interfaces"]}
    assert roles["docker0"].startswith("bridge of the Docker network bridge")
    assert "on docker0" in roles["veth3776ec8"]


def test_codes_and_schema() -> None:
    assert b"isolation" in diag("codes").stdout
    assert "Did you mean isolation" in one_line(diag("codes", "isolaton"))
    for name in ("analysis", "bundle"):
        assert json.loads(diag("schema", name).stdout)["title"].startswith("docker-diag")


def test_help_is_light() -> None:
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "diag", "--help"], capture_output=True, timeout=60
    )
    loaded = {line.split("|")[-1].strip() for line in process.stderr.decode().splitlines()}
    assert not loaded & {"docker", "pyroute2", "jinja2", "weasyprint", "rich", "diag.interpreter.walk"}


def test_the_readme_has_the_real_help() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    assert diag("--help").stdout.decode().strip() in text


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_readme_names_the_set_up_commands() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for target in ("report", "test"):
        assert f"make {target}" in text
        assert f"\n{target}:" in makefile


def test_paper_is_that_of_the_locale_or_the_option(tmp_path: Path) -> None:
    source = str(FIXTURES / "captures" / "ipv6-d20" / "bundle.tar.gz")
    written = []
    for options, locale in ((("--paper", "letter"), "C"), ((), "en_US.UTF-8"), ((), "de_DE.UTF-8")):
        path = tmp_path / "report.pdf"
        assert diag("report", "-f", source, "-o", str(path), *options, LC_ALL=locale).returncode == 0
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert diag("report", "-f", SEED, "-o", str(report)).returncode == 0
    assert json.loads(report.read_bytes())["names"]
    assert list(tmp_path.iterdir()) == [report]
    assert "Not a directory" in one_line(diag("report", "-f", SEED, "-o", str(report / "inside.json")))


def test_diff_exit_statuses() -> None:
    connected = str(bundle_path("seed_connected-d20"))
    same = diag("diff", SEED, SEED, "--quiet")
    assert (same.returncode, same.stdout, same.stderr) == (0, b"", b"")
    other = diag("diff", SEED, connected, "--format", "json")
    assert other.returncode == 1
    assert json.loads(other.stdout)["flips"]
    assert "cannot be live" in one_line(diag("diff", "live", SEED))
    assert "nosuch" in one_line(diag("diff", SEED, "nosuch.tar.gz"))
