"""`diag explain`: one pair or one flow, hop by hop, both directions, names included."""

from __future__ import annotations

import json
from typing import Any

import click

from diag.cli import BAD_NEWS, CANNOT_TELL, DONE
from diag.cli.source import load_bundle, source_option
from diag.model.reasons import Reachability

_STATUS = {
    Reachability.REACHABLE: DONE,
    Reachability.PARTIAL: DONE,
    Reachability.UNREACHABLE: BAD_NEWS,
    Reachability.UNKNOWN: CANNOT_TELL,
}


@click.command("explain")
@click.argument("src")
@click.argument("dst")
@source_option
@click.option("--protocol", type=click.Choice(["tcp", "udp", "icmp"]), help="Ask about one flow only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port of that flow.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]")
def command(
    src: str, dst: str, source: str, protocol: str | None, port: int | None, form: str, lang: str | None
) -> int:
    """Can SRC reach DST, by which path, name and port; if not, why, and what fixes it?

    SRC is a container; DST a container, an address, or a name that SRC would look up. Exit status: 0 reachable, 1 not
    reachable, 3 cannot tell.
    """
    from diag.parse.snapshot import build_snapshot
    from diag.reach.explanation import explain
    from diag.report.explanation import explanation_json, explanation_text
    from diag.report.language import Language, language_of

    if port is not None and protocol not in ("tcp", "udp"):
        raise click.UsageError("--port needs --protocol tcp or --protocol udp")
    if protocol in ("tcp", "udp") and port is None:
        raise click.UsageError(f"--protocol {protocol} needs --port")
    result = explain(build_snapshot(load_bundle(source)), src, dst, protocol=protocol, port=port)
    if form == "json":
        document: dict[str, Any] = explanation_json(result)
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print(explanation_text(result, Language(lang or language_of())))
    return _STATUS[result.reachability]
