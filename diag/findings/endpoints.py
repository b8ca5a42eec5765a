"""Checks of Docker's own books: endpoints without containers, joins that lead nowhere, containers that cannot "
"answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import citing
from diag.model.docker import Container
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netns import LinkKind
from diag.model.provenance import Evidence

_ORPHAN = "ep-"
"""What the API puts before an endpoint's id where no container is left (moby daemon, buildContainerAttachments)."""

_TO_START = ("created", "restarting")
"""Of a running one the network cannot be removed, and one that has ended may be left over."""
_SHORT = 120
"""Characters of a line that is cited for what it lacks."""


def _stale_endpoints(facts: Facts) -> Iterator[Found]:
    if not facts.snapshot.containers_captured:
        return
    known = {c.id for c in facts.snapshot.containers}
    for network in facts.snapshot.networks:
        for member in network.members:
            # Any other unknown member may be a container that came or went between two questions to the engine.
            if member.container_id in known or not member.container_id.startswith(_ORPHAN):
                continue
            name = member.name or member.container_id
            text = say(
                "{network} still holds an endpoint of {container}, and there is no such container.",
                network=network.name,
                container=name,
            )
            command = f"docker network disconnect -f {shlex.quote(network.name)} {shlex.quote(name)}"
            yield Found(f"{name} ({network.name})", text, citing(network.evidence), command)


def _stale_joins(facts: Facts) -> Iterator[Found]:
    if not facts.snapshot.containers_captured:
        return
    by_id: dict[str, Container] = {}
    for container in facts.snapshot.containers:
        by_id |= {container.name: container, container.id: container, container.short_id: container}
    for container in facts.snapshot.containers:
        if not container.joined_to or not container.running:
            continue
        target = by_id.get(container.joined_to) or by_id.get(container.joined_to[:12])
        if target is None or not target.running:
            text = say(
                "{container} shares the network stack of a container that {state}: {target}.",
                container=container.name,
                state=say("is gone") if target is None else say("does not run"),
                target=target.name if target is not None else container.joined_to[:12],
            )
            yield Found(container.name, text, citing(container.evidence, target.evidence if target else None))
        elif (own := _own_links(facts, container, target)) is not None:
            text = say(
                "{container} should share the network stack of {target}, and still has that of before {target} was "
                "restarted.",
                container=container.name,
                target=target.name,
            )
            yield Found(container.name, text, citing(own, container.evidence))


def _own_links(facts: Facts, container: Container, target: Container) -> Evidence | None:
    """The joined container's own capture, where it shows none of the target's interfaces."""
    space = facts.snapshot.netns.get(facts.snapshot.netns_of.get(target.name, ""))
    macs = [
        link.mac for link in (space.links if space else None) or () if link.mac and link.kind is not LinkKind.LOOPBACK
    ]
    file = f"containers/{container.short_id}/ip-addr.json"
    if not macs or file not in facts.snapshot.files or target.short_id == container.short_id:
        return None
    text = facts.snapshot.files[file].lower()
    if any(mac.lower() in text for mac in macs):
        return None
    return Evidence(file, 1, facts.snapshot.files[file].partition("\n")[0][:_SHORT])


def _paused(facts: Facts) -> Iterator[Found]:
    for container in facts.snapshot.containers:
        if container.status == "paused":
            text = say(
                "{container} is paused: its kernel still answers pings and accepts connections, and nobody serves "
                "them.",
                container=container.name,
            )
            yield Found(
                container.name, text, citing(container.evidence), f"docker unpause {shlex.quote(container.name)}"
            )


def _restarting(facts: Facts) -> Iterator[Found]:
    for container in facts.snapshot.containers:
        if container.status == "restarting":
            text = say("{container} ended, and Docker waits to start it again.", container=container.name)
            yield Found(container.name, text, citing(container.evidence))


def _no_network(facts: Facts) -> Iterator[Found]:
    ids = {n.id for n in facts.snapshot.networks}
    if not ids or not facts.snapshot.containers_captured:
        return
    for container in facts.snapshot.containers:
        for endpoint in container.endpoints:
            again = facts.snapshot.network(endpoint.network) is not None
            there = (
                endpoint.network_id in ids if endpoint.network_id else again
            )  # one that never ran knows the name only
            if container.status not in _TO_START or there:
                continue
            text = say(
                "{container} belongs on the network {network}, which {state}.",
                container=container.name,
                network=endpoint.network,
                state=say("was removed and made anew") if again else say("is gone"),
            )
            yield Found(f"{container.name} ({endpoint.network})", text, citing(container.evidence))


CHECKS = (
    Check(
        code="stale-endpoint",
        severity=Severity.WARNING,
        title=say("A network holds an endpoint of a container that is not there"),
        meaning=say(
            "Its address stays taken, the network cannot be removed, and a container of that name may not start on it."
        ),
        detected=say("In docker network inspect, a member is known by its endpoint (ep-…), for its container is gone."),
        fix=say("Disconnect it by force; if the engine refuses, restart Docker."),
        find=_stale_endpoints,
    ),
    Check(
        code="stale-join",
        severity=Severity.ERROR,
        title=say("A container is joined to a network stack that is gone"),
        meaning=say("It has the loopback interface at most: it reaches nobody, and nobody reaches it."),
        detected=say(
            "The target of --network container:… is gone, does not run, or has other interfaces than the joined "
            "container."
        ),
        fix=say("Make the joined container anew once its target runs: docker compose up -d --force-recreate SERVICE."),
        find=_stale_joins,
    ),
    Check(
        code="container-paused",
        severity=Severity.WARNING,
        title=say("A container is paused"),
        meaning=say("Callers connect and wait for ever, which no ping shows."),
        detected=say("Its status is paused."),
        fix=say("Unpause it."),
        find=_paused,
    ),
    Check(
        code="container-restarting",
        severity=Severity.WARNING,
        title=say("A container keeps restarting"),
        meaning=say("Until it stays up it has no network, and its names lead nowhere."),
        detected=say(
            "Its status is restarting: it ended, and its restart policy waits for the next try, longer each time."
        ),
        fix=say("Read why it ended: docker logs CONTAINER."),
        find=_restarting,
    ),
    Check(
        code="network-gone",
        severity=Severity.ERROR,
        title=say("A container's network is gone"),
        meaning=say("The container cannot be started: network … not found."),
        detected=say(
            "A container that was made or is to be started again has an endpoint on a network that docker network ls "
            "does not show."
        ),
        fix=say("Make the container anew, for compose with docker compose up -d --force-recreate SERVICE."),
        find=_no_network,
    ),
)
