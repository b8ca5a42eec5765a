"""The picture: who is on what by which links, joined stacks in one box, what is apart, and few boxes on a large host."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.docker import PublishedPort
from diag.reach.analysis import analyse
from diag.report.classes import placed
from diag.report.language import Language
from diag.report.topology import draw
from diag.report.topology_view import CROWD, FIRST, LaneView, topology_view
from tests.hostile import hostile
from tests.hosts import Host
from tests.loading import CAPTURES, analysis_of

ENGLISH = Language()


def lanes(name: str) -> dict[str, LaneView]:
    return {lane.title: lane for lane in topology_view(analysis_of(name), ENGLISH).lanes}


def test_a_container_hangs_from_its_bridge_by_its_veth_pair() -> None:
    found = lanes("published-d29")
    assert found["neta"].lines == ("br-d7a4790b2a81", "172.18.0.0/16", "gateway 172.18.0.1")
    box = found["neta"].boxes[0]
    assert (box.title, box.lines, box.veth, box.kind) == ("client_a", ("eth0 172.18.0.4",), "vethfa4862a", "ok")
    assert "8080/tcp → pub_any" in found["dockerhost"].ports
    assert [box.title for box in found["the host's own stack"].boxes] == ["client_h"]


def test_a_joined_stack_is_one_box() -> None:
    analysis = analysis_of("seed_connected-d29")
    boxes = [box for lane in topology_view(analysis, ENGLISH).lanes for box in lane.boxes if box.joined]
    names = [one.name for one in placed(analysis.snapshot)]
    assert [(box.title, box.joined) for box in boxes] == [("ng", ("redis",))]
    assert [names[at] for at in boxes[0].at] == ["ng", "redis"]


def test_networks_that_are_no_bridges_look_it() -> None:
    assert {lane.kind for lane in lanes("macvlan-d29").values()} >= {"net", "other"}
    assert lanes("overlay_A-d29")["ov2"].kind == "other"


def test_a_crowd_is_folded_and_what_is_broken_is_not() -> None:
    host = Host().network("a", "10.1.0.0/16")
    for number in range(CROWD + 1):
        host = host.container(f"c{number:03}", "a", status="exited" if number == CROWD else "running")
    analysis = Analysis(host.snapshot(), (), (), (), (), ())
    (lane,) = (lane for lane in topology_view(analysis, ENGLISH).lanes if lane.title == "a")
    assert len(lane.boxes) == FIRST + 2
    assert (lane.boxes[-2].title, lane.boxes[-2].trouble) == (f"c{CROWD:03}", "exited")
    assert (lane.boxes[-1].title, len(lane.boxes[-1].at)) == (f"{CROWD - FIRST} more", CROWD - FIRST)


@pytest.mark.parametrize("name", CAPTURES)
def test_boxes_and_texts_stay_inside(name: str) -> None:
    inside(draw(analysis_of(name), ENGLISH).whole())


def test_hostile_names_stay_inside() -> None:
    inside(draw(hostile(), ENGLISH).whole())


def test_many_ports_are_counted() -> None:
    host = Host().network("a", "10.1.0.0/24").container("x", "a")
    snapshot = host.snapshot()
    ports = tuple(PublishedPort(80, "tcp", 8000 + number) for number in range(100))
    snapshot = replace(snapshot, containers=tuple(replace(c, ports=ports) for c in snapshot.containers))
    edge = topology_view(analyse(snapshot), ENGLISH).lanes[0]
    assert (len(edge.ports), edge.ports[-1]) == (2 * FIRST + 1, f"{100 - 2 * FIRST} more")


def inside(svg: str) -> None:
    """It is XML, and no rectangle leaves the picture."""
    root = ElementTree.fromstring(svg)  # noqa: S314  our own text
    _, _, width, height = (float(n) for n in root.attrib["viewBox"].split())
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
