"""Names that must resolve, as each container resolves them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.model.analysis import Analysis, NameAnswer
from diag.model.message import listed, say
from diag.model.provenance import Evidence
from diag.model.reasons import Via
from diag.names.resolver import Resolver
from diag.policy.model import Resolve
from diag.policy.select import Members
from diag.reach.beyond import HOST
from diag.reach.matrix import bits


class Miss(Struct, frozen=True):
    """A look-up that does not give what is expected."""

    source: str
    name: str
    certain: bool
    """False: it cannot be told."""
    text: str
    """One sentence."""
    evidence: Evidence | None


class LookUps:
    """Look-ups on one host, each made once."""

    def __init__(self, analysis: Analysis, members: Members) -> None:
        self._members = members
        self._resolver = Resolver(analysis.snapshot)
        self._scopes = {scope.container: scope for scope in analysis.names}
        self._known: dict[str, dict[str, NameAnswer]] = {}
        host = analysis.snapshot.netns.get("host")
        links = host.links if host is not None else None
        self._host = {str(address.ip) for link in links or () for address in link.addresses}

    def misses(self, expected: Resolve) -> Iterator[Miss]:
        """What is not as expected, in the order of the containers."""
        members = self._members
        targets = members.any_of(expected.targets)
        for source in members.listed(members.any_of(expected.sources)):
            if expected.name:
                yield from self._miss(source, expected.name, targets if expected.targets else None)
                continue
            for position in bits(targets & ~members.bit[source]):
                yield from self._miss(source, members.names[position], 1 << position)

    def _miss(self, source: str, name: str, targets: int | None) -> Iterator[Miss]:
        answer = self.answer(source, name)
        if not answer.addresses:
            untold = answer.via is Via.EXTERNAL
            template = _why(untold, source, name, answer)
            yield Miss(source, name, not untold, template, answer.evidence)
            return
        if targets is None:
            return
        owners = [self._owner(address) for address in answer.addresses]
        if all(self._members.bit.get(owner, 0) & targets for owner in owners):
            return
        found = (
            f"{owner} ({address})" if owner else address
            for owner, address in zip(owners, answer.addresses, strict=True)
        )
        text = say("In {a} the name {name} leads to {found}.", a=source, name=name, found=listed(found))
        yield Miss(source, name, True, text, answer.evidence)

    def answer(self, source: str, name: str) -> NameAnswer:
        """What a name gives in a container."""
        if source not in self._known:
            scope = self._scopes.get(source)
            self._known[source] = {answer.name: answer for answer in scope.names} if scope else {}
        known = self._known[source]
        if name not in known:
            known[name] = self._resolver.resolve(source, name)
        return known[name]

    def _owner(self, address: str) -> str:
        return self._resolver.owner(address) or (HOST if address in self._host else "")


def _why(untold: bool, source: str, name: str, answer: NameAnswer) -> str:
    if untold:
        return say("{a} may or may not resolve the name {name}: {why}.", a=source, name=name, why=answer.explanation)
    return say("{a} cannot resolve the name {name}: {why}.", a=source, name=name, why=answer.explanation)
