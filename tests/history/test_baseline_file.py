"""The baseline's file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diag.history.baseline_file import decode_baseline, encode_baseline
from diag.model.history import Baseline

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
BASELINES = st.builds(
    Baseline,
    st.integers(1, 1 << 40),
    st.frozensets(st.tuples(TEXTS, TEXTS), max_size=4),
    st.floats(0, 1e10),
    st.booleans(),
)


@given(BASELINES)
def test_round_trip(baseline: Baseline) -> None:
    assert decode_baseline(encode_baseline(baseline)) == baseline


@given(BASELINES, st.data())
def test_damage_shows(baseline: Baseline, data: st.DataObject) -> None:
    content = encode_baseline(baseline)
    at = data.draw(st.integers(0, len(content) - 2))  # the last byte is the line's end
    bit = data.draw(st.integers(0, 7))
    assert decode_baseline(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]) is None
    assert decode_baseline(content[:at]) is None


def test_a_checksum_alone_makes_no_baseline() -> None:
    digest = b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert decode_baseline(digest + b"\n{}\n") is None
