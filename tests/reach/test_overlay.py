"""An overlay network over several hosts: what one host's bundle can tell."""

from __future__ import annotations

from diag.reach.flows import FlowAnswerer
from tests.loading import snapshot_of


def test_an_endpoint_on_another_host_is_named_with_it() -> None:
    answerer = FlowAnswerer(snapshot_of("overlay_A-d29"))
    answer = answerer.answer({"source": "a1", "address": "10.120.0.5", "protocol": "tcp", "port": 80})
    assert (answer["disposition"], answer["reason"]) == ("unknown", "not-captured")
    assert "another host, 10.254.0.2" in answer["unknown"][0]
