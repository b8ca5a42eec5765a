"""A policy as the text of a YAML file, which the loader reads back as the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from diag.policy.model import VERSION, Deny, Expectation, Kind, Only, Policy, Reach, Resolve, Selector
from diag.policy.traffic import ALL_TRAFFIC, Traffic

_WIDTH = 110


def policy_yaml(policy: Policy, comments: Iterable[str] = (), left_out: Iterable[str] = ()) -> str:
    """The file. Comments stand at its head; at its end, what it does not say and why. All of them are one line each."""
    lines = [_comment(text) for text in comments]
    lines += ["", f"version: {VERSION}"]
    for kind, entries in (
        (Kind.REACH, policy.reach),
        (Kind.DENY, policy.deny),
        (Kind.ONLY, policy.only),
        (Kind.RESOLVE, policy.resolve),
    ):
        if entries:
            lines += ["", _HEADS[kind], _dumped({kind.value: [dict(_entry(each)) for each in entries]})]
    ends = [_comment(f"- {text}") for text in left_out]
    if ends:
        lines += ["", "# Not said here:", *ends]
    return "\n".join(lines).lstrip("\n") + "\n"


_HEADS = {
    Kind.REACH: "# Who must reach whom. Without ports: something gets there.",
    Kind.DENY: "# Who must not.",
    Kind.ONLY: "# Nothing else may reach these. The host itself does not count.",
    Kind.RESOLVE: "# Names that must resolve.",
}


def _comment(text: str) -> str:
    """One line, whatever the text holds."""
    return "# " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _entry(expected: Expectation) -> Iterator[tuple[str, Any]]:
    if "[" not in expected.id:
        yield "id", expected.id
    if expected.description:
        yield "description", expected.description
    match expected:
        case Resolve():
            yield "from", _selectors(expected.sources)
            if expected.name:
                yield "name", expected.name
            if expected.targets:
                yield "to", _selectors(expected.targets)
        case Reach():
            yield from _ends(expected)
            if expected.traffic is not None:
                yield "ports", _few(expected.traffic.spelled)
        case Deny() | Only():
            yield from _ends(expected)
            yield from _forbidden(expected.traffic)
    if expected.optional:
        yield "optional", True


def _ends(expected: Reach | Deny | Only) -> Iterator[tuple[str, Any]]:
    """`only` is read from its destination."""
    ends = (("from", _selectors(expected.sources)), ("to", _selectors(expected.destinations)))
    yield from reversed(ends) if isinstance(expected, Only) else ends


def _forbidden(traffic: Traffic) -> Iterator[tuple[str, Any]]:
    """By what is left out, where that is shorter."""
    if traffic == ALL_TRAFFIC:
        return
    named, left_out = traffic.spelled, (ALL_TRAFFIC - traffic).spelled
    if len(" ".join(left_out)) < len(" ".join(named)):
        yield "except", _few(left_out)
    else:
        yield "ports", _few(named)


def _few(texts: Sequence[Any]) -> Any:
    """One stands without a list around it."""
    return texts[0] if len(texts) == 1 else list(texts)


def _selectors(selectors: tuple[Selector, ...]) -> Any:
    return _few([_selector(each) for each in selectors])


def _selector(selector: Selector) -> Any:
    parts: dict[str, Any] = {
        "name": selector.name,
        "compose": selector.compose,
        "label": selector.label,
        "network": selector.network,
    }
    said = {key: text for key, text in parts.items() if text}
    if selector.min > 1:
        said["min"] = selector.min
    return selector.name if list(said) == ["name"] else said


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and nothing is an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _dumped(section: dict[str, Any]) -> str:
    text: str = yaml.dump(
        section, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=_WIDTH
    )
    return text.rstrip("\n")
