"""The names that Docker's DNS has for the containers of each network, found once for all who ask."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from diag.model.analysis import NameAnswer
from diag.model.docker import Container, Endpoint
from diag.model.message import Message, say
from diag.model.reasons import Via


class _Network(Struct):
    members: list[tuple[Container, Endpoint]] = field(default_factory=list)
    by_label: dict[str, list[tuple[Container, Endpoint]]] = field(default_factory=dict)
    """By lower-case name."""
    owners: dict[str, set[str]] = field(default_factory=dict)
    """Each name as it is written, and the containers that have it."""
    in_order: tuple[str, ...] | None = None
    reasons: dict[str, Message] = field(default_factory=dict)
    """Why it answers, by network name."""
    answers: dict[tuple[str, str, str], NameAnswer] = field(default_factory=dict)
    """By network name, the name that was asked for, and the label in it."""


class NetworkNames:
    """Running containers and their names by network, which is its id or, where that is not known, its name."""

    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}

    def add(self, container: Container, endpoint: Endpoint) -> None:
        network = self._networks.setdefault(network_key(endpoint), _Network())
        network.members.append((container, endpoint))
        names = names_on(container, endpoint)
        for name in names:
            network.owners.setdefault(name, set()).add(container.name)
        for label in dict.fromkeys(name.lower() for name in names):
            network.by_label.setdefault(label, []).append((container, endpoint))

    def members(self, endpoint: Endpoint) -> list[tuple[Container, Endpoint]]:
        """Those on the endpoint's network."""
        network = self._networks.get(network_key(endpoint))
        return network.members if network else []

    def of_others(self, endpoint: Endpoint, container: str, names: Iterable[str]) -> list[str]:
        """Those of the names that a container other than this one has on the endpoint's network."""
        network = self._networks.get(network_key(endpoint))
        alone = {container}
        return [name for name in names if network.owners.get(name, alone) != alone] if network else []

    def on(self, endpoint: Endpoint) -> tuple[str, ...]:
        """All names on the endpoint's network, sorted."""
        network = self._networks.get(network_key(endpoint))
        if network is None:
            return ()
        if network.in_order is None:
            network.in_order = tuple(sorted(network.owners))
        return network.in_order

    def its_alone(self, container: Container, endpoints: Iterable[Endpoint]) -> set[str]:
        """The names of a container that no other one has on the networks of these endpoints."""
        names = {name for endpoint in container.endpoints for name in names_on(container, endpoint)}
        return names.difference(*(self.of_others(endpoint, container.name, names) for endpoint in endpoints))

    def answer(self, endpoint: Endpoint, name: str, label: str) -> NameAnswer | None:
        """What a look-up of `name` gives by the containers that are called `label`; one object for all who ask."""
        network = self._networks.get(network_key(endpoint))
        if network is None or label not in network.by_label:
            return None
        key = (endpoint.network, name, label)
        answer = network.answers.get(key)
        if answer is None:
            hits = network.by_label[label]
            text = network.reasons.get(endpoint.network)
            if text is None:
                text = say("Docker's DNS (127.0.0.11): both are on {network}", network=endpoint.network)
                network.reasons[endpoint.network] = text
            answer = dns_answer(name, [there for _, there in hits], Via.EMBEDDED_DNS, hits[0][0], text)
            network.answers[key] = answer
        return answer


def network_key(endpoint: Endpoint) -> str:
    """By what an endpoint's network is known."""
    return endpoint.network_id or endpoint.network


def names_on(container: Container, endpoint: Endpoint) -> tuple[str, ...]:
    """Every name that the embedded DNS gives an endpoint."""
    return tuple(dict.fromkeys((container.name, *endpoint.aliases, *endpoint.dns_names, container.short_id)))


def dns_answer(name: str, endpoints: list[Endpoint], via: Via, owner: Container, text: str) -> NameAnswer:
    """The addresses of endpoints."""
    addresses = [str(ip) for e in endpoints for ip in (e.ip, e.ip6) if ip is not None]
    return NameAnswer(
        name, tuple(dict.fromkeys(addresses)), via, evidence=owner.evidence, target=owner.name, explanation=text
    )
