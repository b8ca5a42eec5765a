"""What containers on the same networks share of their names, and what one of them has of its own."""

from __future__ import annotations

from diag.model.analysis import NameAnswer
from diag.model.reasons import Via
from diag.names.shared_names import SharedNames


def answer(name: str, target: str) -> NameAnswer:
    return NameAnswer(name, ("10.0.0.1",), Via.EMBEDDED_DNS, target=target)


DB, WEB, WWW = answer("db", "db"), answer("Web", "web"), answer("www.", "web")
SPELT = {"db": ("db",), "web": ("web", "Web")}
SHARED = SharedNames.of({"Web": WEB, "db": DB, "off": None, "www.": WWW}, lambda name: SPELT.get(name.lower(), ()))


def test_names_of_its_own_replace_shared_ones_in_their_order() -> None:
    own = answer("db", "other")
    assert SHARED.with_own({}) == (WEB, DB, WWW)
    assert SHARED.with_own({"db": own, "www.": None, "off": None}) == (WEB, own)
    first, last = answer("A", "a"), answer("z", "z")
    assert SHARED.with_own({"z": last, "A": first, "Web": None}) == (first, DB, WWW, last)


def test_what_other_names_still_say() -> None:
    assert SHARED.targets_without(["www.", "off"]) == {"db", "web"}
    assert SHARED.targets_without(["www.", "Web", "elsewhere"]) == {"db"}
    assert SHARED.spelt_without(["Web", "db.elsewhere"]) == {"db"}


def test_names_that_a_hosts_file_has_too() -> None:
    assert list(SHARED.like(["www", "web", "localhost"])) == ["www.", "Web"]
    assert SHARED.in_vain == {"off"}
