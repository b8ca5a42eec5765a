"""An index of a long chain leaves out only rules that would not have held, and the window says for which ports."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.interpreter.selection import LONG_CHAIN
from diag.model.reasons import Disposition
from tests.hosts import Host

TARGET = st.sampled_from(["ACCEPT", "DROP", "REJECT"])
MATCHES = st.lists(
    st.sampled_from(
        [
            *(
                "-d 10.1.0.11/32",
                "-d 10.2.0.11/32",
                "-i br-a",
                "-o br-b",
                "! -i br-a",
                "-s 10.1.0.10/32",
                "-s 10.2.0.0/24",
            ),
            *("-s 10.1.0.11/32", "-s 10.1.0.0/24"),
            *("-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 81", "-p udp -m udp --dport 53", "-p tcp"),
        ]
    ),
    max_size=3,
    unique=True,
)
RULES = st.lists(st.tuples(MATCHES, TARGET), min_size=LONG_CHAIN, max_size=LONG_CHAIN + 6)
HOST = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")


def text(found: list[tuple[list[str], str]]) -> str:
    """In the order of iptables-save; one protocol a rule."""
    lines = []
    for matches, target in found:
        protocols = [m for m in matches if m.startswith("-p")][:1]
        lines.append(
            " ".join(["-A FORWARD", *(m for m in matches if not m.startswith("-p")), *protocols, "-j", target])
        )
    return "\n".join(lines)


@pytest.mark.apart
@settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(RULES)
def test_long_chains_decide_like_short_ones(found: list[tuple[list[str], str]]) -> None:
    """The same rules behind one jump each stand in chains that are too short for an index."""
    middle = len(found) // 2
    halves = [found[:middle], found[middle:]]
    chained = "\n".join(f":H{n} - [0:0]" for n in range(2)) + "\n"
    chained += "\n".join(text(half).replace("-A FORWARD", f"-A H{n}") for n, half in enumerate(halves))
    chained += "\n-A FORWARD -j H0\n-A FORWARD -j H1"
    long, short = HOST.rules(text(found)), HOST.rules(chained)
    for source, to in (("web", "db"), ("db", "web")):
        for tcp, udp in ((0, 0), (80, 0), (81, 0), (82, 0), (0, 53)):
            one, other = (host.send(source, to, tcp=tcp, udp=udp) for host in (long, short))
            assert (one.disposition, one.symptom, one.reason) == (other.disposition, other.symptom, other.reason)
            for port in set(one.window) if tcp else ():
                at_edge = short.send(source, to, tcp=max(1, port))
                assert (at_edge.disposition is Disposition.DELIVERED) == (one.disposition is Disposition.DELIVERED)
