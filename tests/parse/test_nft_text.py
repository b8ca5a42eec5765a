"""The text of `nft list ruleset`: what is damaged or odd loses nothing. Its equality with the JSON is in tests/kernel."""

from __future__ import annotations

from diag.model.netfilter import Accept, Drop, OpaqueStatement
from diag.parse.netns import NetnsReader
from diag.parse.nft_text import parse_nft_text

TABLE = """table ip t {
	chain c {
		type filter hook forward priority -5; policy accept;
		%s
		tcp dport 80 accept
	}
}
"""


def test_an_odd_statement_makes_the_rest_of_its_rule_opaque() -> None:
    (table,) = parse_nft_text((TABLE % "ip saddr 10.0.0.1 osf ttl skip name linux drop").encode(), "nft.txt").value
    odd, plain = table.chains["c"].rules
    assert odd.parts[-1] == OpaqueStatement("osf ttl skip name linux drop")
    assert odd.evidence.line == 4
    assert plain.parts[-1] == Accept()


def test_a_listing_that_is_cut_says_so() -> None:
    read = parse_nft_text(TABLE.encode()[:90], "nft.txt")
    assert "does not end" in read.gaps[0].detail
    (table,) = read.value
    assert isinstance(table.chains["c"].rules[-1].parts[0], OpaqueStatement)


def test_lines_that_are_none_are_named() -> None:
    read = parse_nft_text(b"what is this\n" + (TABLE % "drop").encode(), "nft.txt")
    assert (read.gaps[0].line, len(read.value)) == (1, 1)


def test_devices_priorities_and_comments() -> None:
    text = b"""table netdev n {
	chain i { # a comment
		type filter hook ingress devices = { "eth0", "eth1" } priority filter - 10; policy drop;
		drop comment "said \\"so\\""
	}
}
"""
    (table,) = parse_nft_text(text, "nft.txt").value
    chain = table.chains["i"]
    assert chain.base is not None
    assert (chain.base.devices, chain.base.priority, chain.base.policy_drop) == (("eth0", "eth1"), -10, True)
    assert chain.rules[0].parts == (Drop(),)


def test_a_bundle_with_the_text_only_is_read() -> None:
    files = {"nft-ruleset.txt": (TABLE % "drop").encode(), "ip-addr.json": b"[]"}
    reader = NetnsReader(files, {}, "host/", "the host")
    ruleset = reader.read("host").ruleset
    assert [table.name for table in ruleset.tables] == ["t"]


def test_a_rule_may_begin_like_a_block() -> None:
    odd = "counter packets 0 bytes 0 ip saddr { 10.0.0.1, 10.0.0.2 } drop"
    (table,) = parse_nft_text((TABLE % odd).encode(), "nft.txt").value
    assert [rule.parts[-1] for rule in table.chains["c"].rules] == [Drop(), Accept()]


def test_braces_in_quotes_are_no_braces() -> None:
    text = b"""table ip t {
	set s {
		type ipv4_addr
		elements = { 10.0.0.1 comment "{",
			10.0.0.2 }
	}
}
"""
    (table,) = parse_nft_text(text, "nft.txt").value
    assert len(table.sets["s"].elements) == 2
