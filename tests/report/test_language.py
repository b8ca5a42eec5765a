"""Reports in other languages: nothing that the program says is lost on the way."""

from __future__ import annotations

import ast
import functools
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from babel.messages.pofile import read_po
from click.testing import CliRunner
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.cli import cli
from diag.interpreter.trace import Tracer
from diag.model.analysis import Analysis, Group
from diag.model.bundle import Bundle
from diag.model.flow import Flow, Protocol
from diag.model.message import Listing, Message, listed, say
from diag.model.reasons import Reason, Via
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import analyse
from diag.reach.codes import CODES
from diag.reach.explanation import explain
from diag.report.explanation import explanation_text
from diag.report.language import LANGUAGES, LOCALES, Language, language_of
from diag.report.render import ReportFormat, render
from diag.report.view import build_view
from tests.hosts import Host
from tests.loading import EACH_CAPTURE, analysis_of, bundle_path, snapshot_of

ROOT = Path(__file__).resolve().parents[2]
CHINESE = Language("zh")
CATALOGUES = sorted(LOCALES.glob("*/LC_MESSAGES/diag.po"))
_OPTION = re.compile(r"--[\w-]+( \w+)?")
_SENTENCE = re.compile(r"(?<![\w-])[a-z]{2,} [a-z]{2,}(?![\w-])")
_CITED = re.compile(r"^'?-(\w|-)|^(chain|type|ct|ip6?|tcp|udp|iif\w*|oif\w*|meta|counter|limit) ")
"""Rules and matches as the host has them."""
_HOSTS_OWN = frozenset({"advice", "cited", "command", "evidence"})
"""Fields of a view that hold what the host says, or is told."""


# Catalogues


def test_catalogues_are_complete_and_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "messages.py"), "--check"]
    found = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (found.returncode, found.stderr.strip()) == (0, "")


def test_no_message_is_where_catalogues_do_not_look() -> None:
    """What makes the catalogues reads no string within another's braces."""
    for path in (ROOT / "diag").rglob("*.py"):
        for text in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)):
            for call in (node for node in ast.walk(text) if isinstance(node, ast.Call)):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                assert name not in ("say", "plural") or not isinstance(call.args[0], ast.Constant), (path, call.lineno)


def test_every_language_has_a_catalogue() -> None:
    assert {"en", *(path.parent.parent.name for path in CATALOGUES)} == set(LANGUAGES)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_translations_have_the_parts_of_their_messages(path: Path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parent.parent.name)
    for message in catalogue:
        original = message.id if isinstance(message.id, str) else message.id[-1]
        for text in (message.string,) if isinstance(message.string, str) else message.string or ():
            if message.id:
                assert _fields(text) == _fields(original), message.id


def _fields(template: str) -> set[str]:
    """Its parts: names alone, without attributes, indexes, conversions or widths."""
    found = set()
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is not None:
            assert name.isidentifier(), template
            assert not spec, template
            assert not conversion, template
            found.add(name)
    return found


# Texts of the analysis


def texts_of(analysis: Analysis) -> Iterator[str]:
    """Everything in an analysis that a person reads as a sentence or a clause."""
    for group in (*analysis.groups, *analysis.endpoints):
        yield from _of_group(group)
    for scope in analysis.names:
        yield from (answer.explanation for answer in scope.names)
        yield from (missing.explanation for missing in scope.missing)
    yield from (interface.role for interface in analysis.interfaces)
    yield from analysis.notes
    yield from analysis.roles.values()
    for gap in analysis.gaps:
        yield from (gap.detail, gap.affects)


def _of_group(group: Group) -> Iterator[str]:
    for path in group.paths:
        yield from (path.explanation, path.allowed.words, *path.partial)
        yield from (hop.text for hop in (*path.hops, *path.hops_back))
        yield from (fix.note for fix in path.fixes)


def assert_said(text: str) -> None:
    """It is made of messages, and all of these are in the catalogue."""
    match text:
        case Message():
            assert CHINESE.catalogue.gettext(text.template) != text.template or not _SENTENCE.search(text.template)
            for part in text.parts.values():
                if isinstance(part, str):
                    assert_said(part)
        case Listing():
            for each in text.texts:
                assert_said(each)
        case _:
            assert not _SENTENCE.search(text) or _CITED.search(text), text


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_everything_that_an_analysis_says_is_a_message(name: str) -> None:
    for text in dict.fromkeys(texts_of(analysis_of(name))):
        assert isinstance(text, Message | Listing) or text == "", text
        assert_said(text)


@pytest.mark.parametrize("name", ["broken_links-d20", "user_rules-d29nft", "published-d28", "macvlan-d29"])
def test_everything_that_a_trace_says_is_a_message(name: str) -> None:
    snapshot = snapshot_of(name)
    tracer = Tracer(snapshot)
    addresses = [e.ip for c in snapshot.containers for e in c.endpoints if e.ip is not None]
    for netns in dict.fromkeys(snapshot.netns_of.values()):
        for address in addresses:
            trace = tracer.trace(Flow(netns, address, Protocol.TCP, 80))
            for text in (trace.detail, *trace.unknown_causes, *(hop.text for hop in (*trace.forth, *trace.back))):
                assert isinstance(text, Message | Listing) or text == "", text
                assert_said(text)


HARM: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) * 3 // 4],
    "empty": lambda data: data[:0] + b" \n",
    "elided": lambda data: b"...\n" + data,
    "strange": lambda data: data.replace(b"\n", b"\nstrange { words\n", 3),
}


@pytest.mark.parametrize("name", ["published-d29nft", "user_rules-d20"])
@pytest.mark.parametrize("harm", HARM)
def test_every_gap_of_a_damaged_capture_is_a_message(name: str, harm: str) -> None:
    bundle = read_bundle(str(bundle_path(name)))
    damaged = {path: HARM[harm](data) for path, data in bundle.files.items() if not path.startswith("docker/")}
    engine = {path: data for path, data in bundle.files.items() if path.startswith("docker/")}
    _assert_gaps(replace(bundle, files={**engine, **damaged}))


@pytest.mark.parametrize("part", ["docker/", "host/", "save|ruleset", "ruleset", "route", "addr"])
def test_every_gap_of_an_incomplete_capture_is_a_message(part: str) -> None:
    bundle = read_bundle(str(bundle_path("user_rules-d29")))
    _assert_gaps(
        replace(bundle, files={path: data for path, data in bundle.files.items() if not re.search(part, path)})
    )


def _assert_gaps(bundle: Bundle) -> None:
    gaps = build_snapshot(bundle).gaps
    assert gaps
    for text in {text for gap in gaps for text in (gap.detail, gap.affects) if text}:
        assert isinstance(text, Message | Listing), text
        assert_said(text)


def test_every_reason_code_is_told_in_words() -> None:
    for code in CODES:
        for text in (code.title, code.meaning, code.detected, code.fix):
            assert isinstance(text, Message)
            assert_said(text)


# Texts of the report


class _Marked(Language):
    """A language of dots: whatever still has letters is none of its messages."""

    def __init__(self) -> None:
        super().__init__("zh")
        self.catalogue = _Dots()  # type: ignore[assignment]


class _Dots:
    def gettext(self, template: str) -> str:
        kept = (part if part.startswith("{") else re.sub(r"\w", "·", part) for part in re.split(r"(\{\w+\})", template))
        return "".join(kept)

    def ngettext(self, one: str, many: str, number: int) -> str:
        return self.gettext(one if number == 1 else many)


def _shown(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a view, with the field it is in."""
    if field in _HOSTS_OWN:
        return
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, tuple):
        for item in value:
            yield from _shown(item, field)
    elif isinstance(value, msgspec.Struct):
        for info in msgspec.structs.fields(value):
            yield from _shown(getattr(value, info.name), info.name)


_CODES = frozenset(
    {"id", "ids", "href", "key", "kind", "group", "reason", "via", "driver", "version", "resolver", "state", "status"}
)
"""Fields of identifiers, which are the same in every language."""
_TERMS = frozenset(
    {"icmp", "tcp", "udp", "filter", "veth", "bridge", "host", "none", "docker", "exited", "world", "eth"}
)
"""Words that are the same in every language."""


def left_over(analysis: Analysis, known: frozenset[str]) -> set[str]:
    """Words that a view shows although they are neither codes, nor terms, nor the host's own."""
    found = set()
    for field, text in _shown(build_view(analysis, _Marked())):
        if field not in _CODES:
            found |= {word for word in re.findall(r"\b[A-Za-z]{2,}\b", text) if word.lower() not in known}
    return found


def test_every_word_of_a_view_can_be_translated() -> None:
    host = Host().network("n1", "10.1.0.0/24", icc="false").network("n2", "10.2.0.0/24").uplink()
    host = host.container("c1", "n1").container("c2", "n1", "n2").container("c3", "n2").container("c4", mode="none")
    host = host.container("c5", mode="host").container("c6", "n2", status="exited")
    host = host.rules("-A FORWARD -i br-n1 -o br-n1 -j DROP\n-A FORWARD -p tcp --dport 80 -j REJECT")
    analysis = analyse(host.snapshot())
    own = {word for name in _names_of(analysis) for word in re.findall(r"[a-z]{2,}", name.lower())}
    assert left_over(analysis, _TERMS | own) == set()


def test_a_text_that_is_no_message_is_noticed() -> None:
    analysis = replace(analyse(Host().network("n1", "10.1.0.0/24").snapshot()), notes=("A note.", say("Another.")))
    assert left_over(analysis, _TERMS | {"br", "lo"}) == {"note"}


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_no_english_sentence_is_left_in_a_chinese_view(name: str) -> None:
    analysis = analysis_of(name)
    own = "\n".join(analysis.snapshot.files.values())
    for field, text in _shown(build_view(analysis, CHINESE)):
        for found in _SENTENCE.findall(_OPTION.sub("", text)):
            assert found in own, (field, text)


def _names_of(analysis: Analysis) -> Iterator[str]:
    snapshot = analysis.snapshot
    yield from (container.name for container in snapshot.containers)
    yield from (container.network_mode for container in snapshot.containers)
    yield from (network.name for network in snapshot.networks)
    yield from (interface.name for interface in analysis.interfaces)
    yield from (table.name for table in snapshot.netns["host"].ruleset.tables)
    for table in snapshot.netns["host"].ruleset.tables:
        yield from table.chains
    yield from (snapshot.host, snapshot.engine.version, snapshot.engine.kernel, snapshot.engine.os)
    yield from (reason.value for reason in Reason)
    yield from (via.value for via in Via)


@functools.cache
def _explained(language: str) -> str:
    snapshot = snapshot_of("seed-d29")
    names = [container.name for container in snapshot.containers][:4]
    return "\n".join(
        explanation_text(explain(snapshot, a, b), Language(language)) for a in names for b in names if a != b
    )


def test_an_explanation_speaks_chinese() -> None:
    assert "无法" in _explained("zh")
    assert len(_explained("zh").splitlines()) == len(_explained("en").splitlines())
    for line in _explained("zh").splitlines():
        if not line.startswith(("  docker", "  iptables", "  决定因素")):
            assert not _SENTENCE.search(_OPTION.sub("", line)), line


# Names from the host


HOSTILE = "{b.__class__}"


def test_a_name_is_never_a_template() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("c1", "a").container("c2", "b")
    snapshot = host.rules("-A FORWARD -i br-a -o br-b -j DROP").snapshot()
    renamed = tuple(replace(c, name=HOSTILE) if c.name == "c1" else c for c in snapshot.containers)
    of = {HOSTILE if name == "c1" else name: netns for name, netns in snapshot.netns_of.items()}
    analysis = analyse(replace(snapshot, containers=renamed, netns_of=of))
    for language in LANGUAGES:
        text = render(analysis, ReportFormat.TEXT, Language(language)).decode()
        assert HOSTILE in text
        assert "<class" not in text
    said = CHINESE.of(analysis.groups[0].paths[0].explanation)
    assert said.startswith(f"c2 无法通过 10.1.0.10 访问 {HOSTILE}：")


# Languages


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": ""}, "en"),
        ({}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
    ],
)
def test_the_language_of_a_locale(environment: dict[str, str], wanted: str) -> None:
    assert language_of(environment) == wanted


def test_a_language_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="xx"):
        Language("xx")


def test_chinese_has_no_spaces_between_its_own_words() -> None:
    host, web = say("the host"), "web"
    assert CHINESE.of(say("{who} takes it on {iif}", who=host, iif="eth0")) == "主机在 eth0 上接收"
    assert CHINESE.of(say("{who} takes it on {iif}", who=web, iif="eth0")) == "web 在 eth0 上接收"
    assert CHINESE.of(listed((host, web))) == "主机、web"


def test_json_is_english_in_every_language() -> None:
    analysis = analysis_of("seed-d29")
    assert render(analysis, ReportFormat.JSON, CHINESE) == render(analysis, ReportFormat.JSON)


def test_commands_speak_the_language_that_is_asked_for() -> None:
    source = str(bundle_path("seed-d29"))
    a, b = (container.name for container in snapshot_of("seed-d29").containers[:2])
    for arguments in (["codes", "routed"], ["explain", a, b, "-f", source]):
        spoken = {lang: CliRunner().invoke(cli, [*arguments, "--lang", lang]).output for lang in LANGUAGES}
        assert not re.search("[\u4e00-\u9fff]", spoken["en"])
        assert re.search("[\u4e00-\u9fff]", spoken["zh"])
