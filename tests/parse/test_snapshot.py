"""Whose namespace is whose, where the engine's word is not the kernel's."""

from __future__ import annotations

from diag.model.reasons import Reachability
from tests.loading import analysis_of, snapshot_of


def test_a_joined_container_keeps_the_stack_of_before_its_target_was_restarted() -> None:
    snapshot = snapshot_of("stale_join-d20")
    joiner, target = snapshot.container("joiner"), snapshot.container("target")
    assert joiner is not None
    assert target is not None
    assert joiner.joined_to == target.id
    assert snapshot.netns_of["joiner"] == joiner.short_id != snapshot.netns_of["target"]
    assert [link.name for link in snapshot.netns[joiner.short_id].links or ()] == ["lo"]


def test_it_reaches_nobody() -> None:
    analysis = analysis_of("stale_join-d20")
    reached = {
        (s, d)
        for group in analysis.groups
        if group.reachability is not Reachability.UNREACHABLE
        for s in group.sources
        for d in group.destinations
        if s != d
    }
    assert reached == {("other", "target"), ("target", "other")}
    why = next(path.explanation for group in analysis.groups if "joiner" in group.sources for path in group.paths)
    assert "still has the network stack of a container that ended" in why
