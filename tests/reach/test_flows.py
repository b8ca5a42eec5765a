"""Many flows at once: what is shared between flows of a kind is what each would get by itself."""

from __future__ import annotations

import pytest

from diag.reach import flows
from diag.reach.flows import FlowAnswerer
from tests.loading import EACH_CAPTURE, snapshot_of, truth_of


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_answers_are_the_same_when_many_are_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = snapshot_of(name)
    fields = ("source", "address", "protocol", "port")
    requests = [{key: flow[key] for key in fields if key in flow} for flow in truth_of(name)["flows"]]
    monkeypatch.setattr(flows, "MANY_PER_CONTAINER", 0)
    monkeypatch.setattr(flows, "MANY", len(requests) + 1)
    alone = FlowAnswerer(snapshot)
    expected = [alone.answer(request) for request in requests]
    monkeypatch.setattr(flows, "MANY", 1)
    together = FlowAnswerer(snapshot)
    assert [together.answer(request) for request in requests] == expected
