"""The objects of SARIF 2.1.0, with those of their properties that are used here."""

from __future__ import annotations

from msgspec import Struct


class _Record(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An object of the standard: names in camel case, and what is not said is left out."""


class Text(_Record, frozen=True):
    """A message, or what a line of a file holds."""

    text: str


class Artifact(_Record, frozen=True):
    """A file."""

    uri: str = ""
    uri_base_id: str = ""
    description: Text | None = None


class Region(_Record, frozen=True):
    """A line of it."""

    start_line: int
    snippet: Text | None = None


class Physical(_Record, frozen=True):
    """A place in a file."""

    artifact_location: Artifact
    region: Region | None = None


class Logical(_Record, frozen=True):
    """A thing that is no file: a container, a network, a sysctl."""

    fully_qualified_name: str


class Location(_Record, frozen=True):
    """Where a result is."""

    physical_location: Physical | None = None
    logical_locations: tuple[Logical, ...] = ()


class Suppression(_Record, frozen=True):
    """Somebody accepted it."""

    kind: str
    status: str
    justification: str = ""


class Configuration(_Record, frozen=True):
    """How bad a hit of a rule is."""

    level: str


class Rule(_Record, frozen=True):
    """A check, an expectation, or that a verdict is another."""

    id: str
    short_description: Text
    full_description: Text | None = None
    help: Text | None = None
    default_configuration: Configuration | None = None


class Result(_Record, frozen=True):
    """One hit."""

    rule_id: str
    rule_index: int
    level: str
    message: Text
    locations: tuple[Location, ...]
    partial_fingerprints: dict[str, str]
    """The same for the same trouble at another time."""
    related_locations: tuple[Location, ...] = ()
    suppressions: tuple[Suppression, ...] = ()


class Notification(_Record, frozen=True):
    """Something that the run had to do without."""

    level: str
    message: Text
    locations: tuple[Location, ...] = ()


class Invocation(_Record, frozen=True):
    """The run."""

    execution_successful: bool
    tool_execution_notifications: tuple[Notification, ...] = ()
    machine: str = ""
    end_time_utc: str = ""


class Component(_Record, frozen=True):
    """This program."""

    name: str
    version: str
    rules: tuple[Rule, ...]


class Tool(_Record, frozen=True):
    """What ran."""

    driver: Component


class Run(_Record, frozen=True):
    """One run of it."""

    tool: Tool
    invocations: tuple[Invocation, ...]
    results: tuple[Result, ...]
    original_uri_base_ids: dict[str, Artifact]


class Log(Struct, frozen=True, rename={"schema": "$schema"}):
    """The document."""

    schema: str
    version: str
    runs: tuple[Run, ...]
