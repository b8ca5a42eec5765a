"""The report for a ticket: what comes first, what is folded, what hostile names cannot do, and how long it gets."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.provenance import Gap, GapKind
from diag.report.language import Language
from diag.report.markdown import LIMIT, block, code, escape, render_markdown
from tests.hostile import hostile
from tests.loading import analysis_of
from tests.report.test_large import large

ENGLISH = Language()


def markdown(analysis: Analysis) -> str:
    return render_markdown(analysis, ENGLISH).decode()


def prose(text: str) -> str:
    """Without code, which nothing is looked for in."""
    text = re.sub(r"^(`{3,})sh\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


def test_the_verdict_comes_first() -> None:
    lines = markdown(analysis_of("broken_links-d20")).splitlines()
    assert lines[0] == "# Docker networking on dockerhost"
    assert lines[2].startswith("**✕ Something is broken.** ")
    assert lines.index("## What is wrong first") < next(n for n, line in enumerate(lines) if "<details>" in line)


def test_fixes_are_blocks_of_code() -> None:
    text = markdown(analysis_of("seed_connected-d20"))
    assert "\n```sh\ndocker network connect bridge goofy_swartz\n```\n" in text
    assert "\n````sh\na ```b``` c\n````\n" in f"\n{block('a ```b``` c')}"


@pytest.mark.parametrize(
    "analysis", [analysis_of("seed_connected-d20"), hostile(), large()], ids=["seed", "hostile", "large"]
)
def test_folds_are_closed(analysis: Analysis) -> None:
    depth = 0
    for line in prose(markdown(analysis)).splitlines():
        depth += line.count("<details>") - line.count("</details>")
        assert 0 <= depth <= 2
        assert not line.startswith("## ") or depth == 0
    assert depth == 0


def test_hostile_names_are_inert() -> None:
    text = prose(markdown(hostile()))
    for tag in re.findall(r"<[^>]*>", text):
        assert tag in ("<details>", "</details>", "<summary>", "</summary>")
    assert "http" not in text
    assert not re.search(r"(?<!\\)\]\(", text)


@pytest.mark.parametrize(
    "text",
    [
        "@torvalds",
        "\\@torvalds",
        "a#12",
        "#12",
        "org/repo#12",
        "!7",
        "$3",
        "%4",
        "~bug",
        "&5",
        "me@example.org",
        "http://example.org",
        "www.example.org",
        ":tada:",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "x`@torvalds`y",
        "``@torvalds",
    ],
)
def test_nothing_is_mentioned_or_linked(text: str) -> None:
    assert prose(f"see {escape(text)} there") == "see  there"


def test_escaped_text_is_easy_to_read() -> None:
    assert escape("my_app-1 reaches db_2 at 10.0.0.1, tcp 80") == "my_app-1 reaches db_2 at 10.0.0.1, tcp 80"
    assert escape("(@host), [x](y) <b> *") == "(`@host`), \\[x\\](y) &lt;b&gt; \\*"
    assert [escape(start) for start in ("- a", "1. a", "+ a", "= a")] == ["\\- a", "1\\. a", "\\+ a", "\\= a"]


def test_code_survives_backticks() -> None:
    assert code("a`b") == "``a`b``"
    assert code("`x`") == "`` `x` ``"


def test_it_stays_below_its_limit_and_says_what_it_leaves_out() -> None:
    for name in ("random_2-d28", "seed_connected-d20"):
        assert len(markdown(analysis_of(name))) < LIMIT
    gaps = tuple(Gap(GapKind.MISSING, f"file{number}", 0, "x" * 300) for number in range(300))
    text = markdown(replace(large(), gaps=gaps))
    assert LIMIT // 2 < len(text) < LIMIT
    left = re.search(r"^(\d+) more entries are in the HTML and JSON reports\.$", text, re.MULTILINE)
    assert left
    assert text.count("xxx\n") + int(left[1]) == len(gaps)


def test_every_group_is_there_or_counted() -> None:
    analysis = analysis_of("random_2-d28")
    text = markdown(analysis)
    left = re.search(r"^(\d+) more groups? of pairs \((\d+) ordered pairs in all\)", text, re.MULTILINE)
    pairs = [int(n) for n in re.findall(r"^(\d+) ordered pairs? · ", text, re.MULTILINE)]
    assert len(pairs) + (int(left[1]) if left else 0) == len(analysis.groups)
    assert sum(pairs) + (int(left[2]) if left else 0) == sum(group.pairs for group in analysis.groups)


def test_other_languages() -> None:
    text = render_markdown(analysis_of("seed_connected-d20"), Language("zh")).decode()
    assert Language("zh").say("not reachable") in text
