"""The report as text: it fits 80 columns in every language, and a large host fits a mail."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.provenance import Gap, GapKind
from diag.report.columns import COLUMNS, command_lines, width, wrapped
from diag.report.language import Language
from diag.report.text import render_summary, render_text
from tests.hostile import hostile
from tests.loading import analysis_of
from tests.report.test_large import large
from tests.report.test_pdf import chinese

ENGLISH = Language()


def text(analysis: Analysis, language: Language = ENGLISH) -> str:
    return render_text(analysis, language).decode()


@pytest.mark.parametrize("language", [ENGLISH, Language("zh")], ids=["en", "zh"])
@pytest.mark.parametrize(
    "analysis",
    [analysis_of("seed_connected-d20"), analysis_of("broken_links-d20"), hostile(), chinese(), large()],
    ids=["seed", "broken", "hostile", "chinese", "large"],
)
def test_it_fits_a_terminal(analysis: Analysis, language: Language) -> None:
    for written in (text(analysis, language), render_summary(analysis, language)):
        for line in written.splitlines():
            assert width(line) <= COLUMNS, line
            assert line == line.rstrip()


def test_the_summary_opens_with_the_verdict() -> None:
    lines = render_summary(analysis_of("broken_links-d20"), ENGLISH).splitlines()
    assert lines[3].startswith("✕ Something is broken.")
    assert any(line.startswith("✕ Link is down") for line in lines)
    assert "ordered pairs of containers reach each other" in render_summary(analysis_of("seed-d20"), ENGLISH)


def test_a_large_host_is_cut_and_says_so() -> None:
    written = text(large())
    assert len(written) < 100_000
    assert "more rows are in the HTML and JSON reports." in written
    assert len(render_summary(large(), ENGLISH).splitlines()) < 60


def test_gaps_are_named() -> None:
    analysis = analysis_of("seed-d20")
    assert "What is not known" not in text(analysis)
    assert "What is not known" in text(replace(analysis, gaps=one_gap()))


def one_gap() -> tuple[Gap, ...]:
    return (Gap(GapKind.MISSING, "host/iptables-save.txt", 3, "cut off", "every pair"),)


def test_a_small_host_is_whole() -> None:
    written = " ".join(text(analysis_of("seed_connected-d20")).split())
    assert written.count("ordered pair · ") + written.count("ordered pairs · ") == 33
    assert "more rows" not in written


def test_commands_can_be_pasted() -> None:
    command = "docker network disconnect none lonely && docker network connect test_net2 lonely_one"
    lines = command_lines(command, "    ")
    assert len(lines) == 2
    assert " ".join(line.removesuffix("\\").strip() for line in lines) == command
    assert lines[0].endswith(" \\")
    quoted = command_lines(f"docker network connect a '{'b c ' * 30}'", "")
    assert not any(line.endswith("\\") for line in quoted)


def test_wide_characters_break_anywhere_but_before_a_stop() -> None:
    lines = wrapped("网" * 39 + "络，" + "网" * 10, "  ")
    assert [width(line) for line in lines] == [78, 26]
    assert lines[1].startswith("  络，")
    assert wrapped("") == []


def test_a_swarms_own_networks_say_what_they_are() -> None:
    written = " ".join(text(analysis_of("overlay_A-d29")).split())
    assert (
        "docker_gwbridge (bridge, bridge docker_gwbridge, 172.18.0.0/16, the way out of containers on overlay"
        in written
    )
    assert "ingress (overlay, 10.0.0.0/24, swarm's routing mesh" in written
    assert "ov2 (overlay, 10.121.0.0/24, encrypted between hosts" in written
