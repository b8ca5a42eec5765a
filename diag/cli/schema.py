"""`diag schema`: the JSON Schema of what is written, or read."""

from __future__ import annotations

from importlib import resources

import click

from diag.cli import DONE

_SCHEMAS = {
    "analysis": ("diag.report", "schema/analysis.schema.json"),
    "bundle": ("diag.bundle", "manifest.schema.json"),
    "health": ("diag.report", "schema/health.schema.json"),
    "policy": ("diag.policy", "policy.schema.json"),
}


@click.command("schema")
@click.argument("name", type=click.Choice(sorted(_SCHEMAS)))
def command(name: str) -> int:
    """Print the JSON Schema of analysis.json, of a bundle's manifest.json, of `diag check --format json`, or of a policy."""
    package, path = _SCHEMAS[name]
    print(resources.files(package).joinpath(path).read_text(encoding="utf-8"), end="")
    return DONE
