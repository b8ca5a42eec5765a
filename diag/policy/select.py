"""Which containers a selector fits, as sets that cost as little as a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

from diag.model.docker import Container
from diag.model.message import say
from diag.model.snapshot import Snapshot
from diag.policy.model import Selector
from diag.reach.beyond import HOST, RESERVED, WORLD
from diag.reach.matrix import bits

_MAGIC = re.compile(r"[*?[]")


def exactly(text: str) -> str:
    """The pattern that fits this text only.

    >>> exactly("web[1]*"), exactly("@world")
    ('web[[]1][*]', '[@]world')
    """
    found = _MAGIC.sub(lambda match: f"[{match[0]}]", text)
    return f"[@]{found[1:]}" if found.startswith("@") else found


@lru_cache(maxsize=1 << 12)
def pattern_of(text: str) -> re.Pattern[str]:
    """Of `*`, `?` and `[…]`, upper and lower case told apart."""
    return re.compile(translate(text))


def fits(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says."""
    return pattern == text if _MAGIC.search(pattern) is None else pattern_of(pattern).match(text) is not None


class Members:
    """The containers of a snapshot, then `@host` and `@world`: a bit each, the lowest for the first container."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.names = (*(container.name for container in snapshot.containers), *RESERVED)
        self.bit = {name: 1 << position for position, name in enumerate(self.names)}
        self.containers = (1 << len(snapshot.containers)) - 1
        """All of them."""
        self.host, self.world = self.bit[HOST], self.bit[WORLD]
        self.on_network = self._on_networks()
        self.services: dict[tuple[str, str], int] = {}
        """By project and service of Docker Compose."""
        for container in snapshot.containers:
            if container.compose_project:
                key = (container.compose_project, container.compose_service)
                self.services[key] = self.services.get(key, 0) | self.bit[container.name]
        self._found: dict[Selector, int] = {}

    def _on_networks(self) -> dict[str, int]:
        """With those that joined a member's network stack; `host` and `none` by mode."""
        stacks: dict[str, int] = {}
        for container in self.snapshot.containers:
            netns = self.snapshot.netns_of.get(container.name)
            if netns is not None:
                stacks[netns] = stacks.get(netns, 0) | self.bit[container.name]
        found: dict[str, int] = {}
        for container in self.snapshot.containers:
            netns = self.snapshot.netns_of.get(container.name)
            for network in _networks(container):
                there = self.bit[container.name] if netns in (None, "host") else stacks[netns or ""]
                found[network] = found.get(network, 0) | there
        if "host" in stacks:
            found["host"] = found.get("host", 0) | stacks["host"]
        return found

    def of(self, names: Iterable[str]) -> int:
        """These, by name."""
        return sum(map(self.bit.__getitem__, set(names)))

    def listed(self, mask: int) -> tuple[str, ...]:
        """The names of a set, in order."""
        return tuple(self.names[position] for position in bits(mask))

    def any_of(self, selectors: Iterable[Selector]) -> int:
        """What at least one selector fits."""
        found = 0
        for selector in selectors:
            found |= self.one(selector)
        return found

    def one(self, selector: Selector) -> int:
        """What a selector fits."""
        if selector not in self._found:
            self._found[selector] = self._select(selector)
        return self._found[selector]

    def _select(self, selector: Selector) -> int:
        if selector.name in RESERVED:
            return self.bit[selector.name]
        found = self.containers
        if selector.name:
            found &= self._named(selector.name)
        if selector.project:
            found &= _joined(
                mask
                for (project, service), mask in self.services.items()
                if fits(selector.project, project) and (not selector.service or fits(selector.service, service))
            )
        if selector.network:
            found &= _joined(mask for name, mask in self.on_network.items() if fits(selector.network, name))
        if selector.label:
            found &= self._labelled(*selector.label.partition("=")[::2], valued="=" in selector.label)
        return found

    def _named(self, pattern: str) -> int:
        if _MAGIC.search(pattern) is None:
            return self.bit.get(pattern, 0)
        form = pattern_of(pattern)
        return self.of(c.name for c in self.snapshot.containers if form.match(c.name))

    def _labelled(self, key: str, value: str, *, valued: bool) -> int:
        return self.of(
            container.name
            for container in self.snapshot.containers
            for own, found in container.labels
            if own == key and (not valued or fits(value, found))
        )

    def missing(self, selectors: Iterable[Selector]) -> str:
        """Which selector fits too few, in words; empty: none."""
        for selector in selectors:
            count = self.one(selector).bit_count()
            if count < selector.min:
                return self._too_few(selector, count)
        return ""

    def _too_few(self, selector: Selector, count: int) -> str:
        if count:
            return say(
                "{selector} fits {count} of at least {least} containers",
                selector=selector.words,
                count=count,
                least=selector.min,
            )
        if selector.label and not any(_own_labels(c) for c in self.snapshot.containers):
            return say(
                "no container fits {selector}: the capture holds no labels but Compose's (diag capture --label KEY)",
                selector=selector.words,
            )
        return say("no container fits {selector}", selector=selector.words)


def _networks(container: Container) -> Iterable[str]:
    if container.network_mode in ("host", "none"):
        return (container.network_mode, *(e.network for e in container.endpoints))
    return (e.network for e in container.endpoints)


def _own_labels(container: Container) -> bool:
    return any(not key.startswith("com.docker.compose.") for key, _ in container.labels)


def _joined(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found
