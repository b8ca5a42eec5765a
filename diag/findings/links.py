"""Checks of interfaces: bridges, the veth pairs between them and containers, and the sizes of packets that they "
"take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diag.findings.cables import Cable
from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import citing, some
from diag.findings.routing import default_routes
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import DockerNetwork
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import NoEffect, Ruleset
from diag.model.netns import Link, LinkKind
from diag.reach.beyond import HOST

_VXLAN_OVERHEAD = 50
"""Bytes of outer IPv4, UDP, VXLAN and inner Ethernet headers, RFC 7348."""


def _bridged(facts: Facts) -> Iterator[tuple[Cable, Link]]:
    """Links that belong on a bridge, with their other ends on the host."""
    for cable in facts.cables:
        if cable.bridged and cable.outer is not None and cable.outer.kind is LinkKind.VETH:
            yield cable, cable.outer


def _without_bridge(facts: Facts) -> Iterator[Found]:
    for cable, outer in _bridged(facts):
        routed = any(a.ip.family is Family.IPV4 for a in outer.addresses)
        # Where the bridge itself is gone, that is the finding.
        if not outer.master and not routed and facts.world.link("host", cable.network.bridge_name) is not None:
            text = say(
                "{veth}, the host's end of {link} in {container}, is on no bridge; {network} is {bridge}.",
                veth=outer.name,
                link=cable.inner.name,
                container=cable.container.name,
                network=cable.network.name,
                bridge=cable.network.bridge_name,
            )
            yield Found(cable.place, text, citing(outer.evidence, cable.inner.evidence), _attach(facts, cable, outer))


def _wrong_bridge(facts: Facts) -> Iterator[Found]:
    for cable, outer in _bridged(facts):
        if outer.master and outer.master != cable.network.bridge_name:
            text = say(
                "{veth}, the host's end of {link} in {container}, is on {actual}; {network} is {bridge}.",
                veth=outer.name,
                link=cable.inner.name,
                container=cable.container.name,
                actual=outer.master,
                network=cable.network.name,
                bridge=cable.network.bridge_name,
            )
            yield Found(cable.place, text, citing(outer.evidence, cable.inner.evidence), _attach(facts, cable, outer))


def _attach(facts: Facts, cable: Cable, outer: Link) -> str:
    if facts.world.link("host", cable.network.bridge_name) is None:
        return ""
    return f"ip link set dev {shlex.quote(outer.name)} master {shlex.quote(cable.network.bridge_name)}"


def _down(facts: Facts) -> Iterator[Found]:
    bridges: dict[str, Cable] = {}
    for cable in facts.cables:
        if cable.bridged and cable.outer is not None:
            bridges.setdefault(cable.network.bridge_name, cable)
        for link, where in ((cable.inner, cable.container.name), (cable.outer, HOST)):
            if link is not None and not link.up:
                text = say(
                    "{link} of {where}, which carries {container} on {network}, is down.",
                    link=link.name,
                    where=where,
                    container=cable.container.name,
                    network=cable.network.name,
                )
                # A container's routes went with its link: setting it up would not bring back its default route.
                command = _set_up(cable.network, link) if where == HOST else ""
                yield Found(cable.place, text, citing(link.evidence), command)
                break
    for name, cable in bridges.items():
        bridge = facts.world.link("host", name)
        if bridge is not None and not bridge.up:
            text = say("{bridge}, the bridge of {network}, is down.", bridge=name, network=cable.network.name)
            yield Found(cable.network.name, text, citing(bridge.evidence), _set_up(cable.network, bridge))


def _set_up(network: DockerNetwork, link: Link) -> str:
    """Nothing for IPv6: its addresses and routes are gone with the link's going down."""
    return "" if network.ipv6 else f"ip link set dev {shlex.quote(link.name)} up"


def _no_bridge(facts: Facts) -> Iterator[Found]:
    if facts.host.links is None or not facts.sees_bridges:
        return
    for network in facts.snapshot.networks:
        if network.driver == "bridge" and facts.world.link("host", network.bridge_name) is None:
            text = say(
                "{network} should be {bridge}, and the host has no such interface.",
                network=network.name,
                bridge=network.bridge_name,
            )
            yield Found(network.name, text, citing(network.evidence))


def _no_address(facts: Facts) -> Iterator[Found]:
    given: dict[str, set[Ip]] = {}
    for container in facts.snapshot.containers:
        for endpoint in container.endpoints if container.running else ():
            if endpoint.gateway is not None:
                given.setdefault(endpoint.network_id, set()).add(endpoint.gateway)
    for network in facts.snapshot.networks:
        bridge = facts.world.link("host", network.bridge_name) if network.driver == "bridge" else None
        if bridge is None or not bridge.index:
            continue  # `brctl show` names bridges without their addresses
        wanted = {c.gateway for c in network.ipam if c.gateway is not None} or given.get(network.id, set())
        own = {a.ip for a in bridge.addresses}
        listed = {c.gateway for c in network.ipam}
        for gateway in sorted(wanted):
            subnet = next((c.subnet for c in network.ipam if gateway in c.subnet), None)
            if gateway in own or subnet is None or _needs_no_address(network, gateway.family):
                continue
            if gateway not in listed and gateway.value != subnet.first + 1:
                continue  # an auxiliary address (DefaultGatewayIPv4) that somebody else is to have
            text = say(
                "{bridge}, the bridge of {network}, does not have the gateway's address {gateway}.",
                bridge=bridge.name,
                network=network.name,
                gateway=str(gateway),
            )
            command = f"ip address add {gateway}/{subnet.length} dev {shlex.quote(bridge.name)}"
            yield Found(network.name, text, citing(bridge.evidence, network.evidence), command)
            break


def _needs_no_address(network: DockerNetwork, family: Family) -> bool:
    """moby drivers/bridge: `inhibit_ipv4` leaves the address to the administrator, `isolated` has none."""
    options = network.options
    if options.get(f"com.docker.network.bridge.gateway_mode_{family.label}") == "isolated":
        return True
    return family is Family.IPV4 and options.get("com.docker.network.bridge.inhibit_ipv4", "").lower() == "true"


_AUTOMATIC = Prefix.parse("169.254.0.0/16")
"""What a network manager gives an interface that no DHCP server answers on, RFC 3927."""


def _managed(facts: Facts) -> Iterator[Found]:
    for cable, outer in _bridged(facts):
        found = next((a for a in outer.addresses if a.ip in _AUTOMATIC), None)
        if found is not None:
            text = say(
                "{veth}, the host's end of {link} in {container}, has {ip}: a network manager takes it for a network "
                "card.",
                veth=outer.name,
                link=cable.inner.name,
                container=cable.container.name,
                ip=str(found.ip),
            )
            yield Found(cable.place, text, citing(outer.evidence))


def _above_uplink(facts: Facts) -> Iterator[Found]:
    ways = default_routes(facts.host, Family.IPV4)
    uplink = facts.world.link("host", ways[0].nexthops[0].dev) if ways else None
    if uplink is None or not uplink.mtu:
        return
    larger = [c for c in facts.cables if c.bridged and not c.network.internal and c.inner.mtu > uplink.mtu]
    if larger and not _clamps(facts.host.ruleset):
        text = say(
            "{uplink} takes packets of {mtu} bytes, containers on {networks} send up to {larger}: large transfers to "
            "and from "
            "outside may hang where ICMP is filtered on the way.",
            uplink=uplink.name,
            mtu=uplink.mtu,
            networks=some(c.network.name for c in larger),
            larger=max(c.inner.mtu for c in larger),
        )
        yield Found(uplink.name, text, citing(uplink.evidence, larger[0].inner.evidence))


def _clamps(ruleset: Ruleset) -> bool:
    """Whether some rule makes TCP segments fit: then few packets are too large."""
    return any(
        isinstance(part, NoEffect) and ("TCPMSS" in part.text or "maxseg" in part.text)
        for table in ruleset.tables
        for chain in table.chains.values()
        for rule in chain.rules
        for part in rule.parts
    )


def _overlay_mtu(facts: Facts) -> Iterator[Found]:
    peers = (entry.dst for space in facts.snapshot.netns.values() for entry in space.fdb if space.id != "host")
    if facts.host.routes.get(Family.IPV4) is None:
        return
    fib = facts.world.fib("host", Family.IPV4)
    devices: dict[str, Link] = {}
    for peer in dict.fromkeys(ip for ip in peers if ip.family is Family.IPV4):
        route = next((r for r in fib.candidates("main", peer.value) if r.nexthops), None)
        link = facts.world.link("host", route.nexthops[0].dev) if route is not None else None
        if link is not None and link.mtu:
            devices.setdefault(link.name, link)
    if not devices:
        return
    below = min(devices.values(), key=lambda link: link.mtu)
    larger = [c for c in facts.cables if c.network.driver == "overlay" and c.inner.mtu + _VXLAN_OVERHEAD > below.mtu]
    if larger:
        text = say(
            "{dev} takes packets of {mtu} bytes, and {networks} with VXLAN around needs {larger}: large packets "
            "between hosts are "
            "lost or cut to pieces.",
            dev=below.name,
            mtu=below.mtu,
            networks=some(c.network.name for c in larger),
            larger=max(c.inner.mtu for c in larger) + _VXLAN_OVERHEAD,
        )
        yield Found(below.name, text, citing(below.evidence, larger[0].inner.evidence))


def _unequal_ends(facts: Facts) -> Iterator[Found]:
    for cable, outer in _bridged(facts):
        if 0 < outer.mtu < cable.inner.mtu:
            text = say(
                "{link} of {container} sends packets of up to {larger} bytes, and {veth} at its other end takes {mtu}.",
                link=cable.inner.name,
                container=cable.container.name,
                larger=cable.inner.mtu,
                veth=outer.name,
                mtu=outer.mtu,
            )
            command = f"ip link set dev {shlex.quote(outer.name)} mtu {cable.inner.mtu}"
            yield Found(cable.place, text, citing(outer.evidence, cable.inner.evidence), command)


CHECKS = (
    Check(
        code="veth-without-bridge",
        severity=Severity.ERROR,
        title=say("A container's link is on no bridge"),
        meaning=say(
            "Nothing that the container sends on this network gets further than the host's end of its veth pair."
        ),
        detected=say(
            "The host's end of the pair has no master, and the container's address belongs to a bridge network."
        ),
        fix=say(
            "Put it back, and find out what took it off: often NetworkManager or systemd-networkd, which should "
            "leave veth* alone."
        ),
        find=_without_bridge,
    ),
    Check(
        code="veth-on-wrong-bridge",
        severity=Severity.ERROR,
        title=say("A container's link is on another network's bridge"),
        meaning=say(
            "The container reaches neither its gateway nor its neighbours, and is let in with those of another network."
        ),
        detected=say(
            "The master of the host's end of the pair is not the bridge of the network that the address belongs to."
        ),
        fix=say("Put it on the network's own bridge, and find out what moved it."),
        find=_wrong_bridge,
    ),
    Check(
        code="interface-down",
        severity=Severity.ERROR,
        title=say("An interface that containers need is down"),
        meaning=say("Nothing gets through it in either direction."),
        detected=say(
            "One end of a container's link, or the bridge of a network that has running containers, lacks the flag UP."
        ),
        fix=say("Set it up; inside a container, restart the container, for its routes are gone too."),
        find=_down,
    ),
    Check(
        code="bridge-missing",
        severity=Severity.ERROR,
        title=say("A network's bridge is gone"),
        meaning=say("Containers on the network have no connection, and no container can be started on it."),
        detected=say("Other bridges of Docker are among the host's interfaces, and this network's is not."),
        fix=say("Restart Docker, which makes the bridge again, or remove the network and make it anew."),
        find=_no_bridge,
    ),
    Check(
        code="bridge-without-address",
        severity=Severity.ERROR,
        title=say("A network's bridge lost its address"),
        meaning=say("The containers' gateway does not answer: they reach each other and nothing else."),
        detected=say("The gateway of docker network inspect is not among the addresses of the bridge."),
        fix=say(
            "Give the address back, and find out what took it: often a network manager that should leave Docker's "
            "bridges alone."
        ),
        find=_no_address,
    ),
    Check(
        code="veth-managed",
        severity=Severity.WARNING,
        title=say("A network manager configures containers' links"),
        meaning=say(
            "It gives them addresses of 169.254.0.0/16 and sooner or later a route: the host may lose its way to "
            "cloud metadata, to "
            "its default gateway, or to the container."
        ),
        detected=say("The host's end of a container's veth pair has an address of 169.254.0.0/16."),
        fix=say(
            "Tell dhcpcd (denyinterfaces veth*), NetworkManager (unmanaged-devices) or systemd-networkd "
            "(Unmanaged=yes) to leave veth* alone."
        ),
        find=_managed,
    ),
    Check(
        code="mtu-above-uplink",
        severity=Severity.WARNING,
        title=say("Containers send larger packets than the uplink takes"),
        meaning=say(
            "Small requests work and large answers hang, wherever a router on the way drops the ICMP messages that "
            "would tell."
        ),
        detected=say(
            "A container's interface has a larger MTU than the link of the default route, and no rule clamps the MSS "
            "of TCP."
        ),
        fix=say(
            "Set the option com.docker.network.driver.mtu of the networks, or mtu in daemon.json, to the uplink's MTU."
        ),
        find=_above_uplink,
    ),
    Check(
        code="overlay-mtu",
        severity=Severity.WARNING,
        title=say("Overlay packets do not fit the link between hosts"),
        meaning=say("Small requests between hosts work, large ones hang or are slow."),
        detected=say(
            "The MTU of a container's overlay interface and 50 bytes of VXLAN are more than the MTU of the link to "
            "the other hosts."
        ),
        fix=say(
            "Make the overlay network anew with --opt com.docker.network.driver.mtu set to the link's MTU less 50."
        ),
        find=_overlay_mtu,
    ),
    Check(
        code="mtu-differs",
        severity=Severity.WARNING,
        title=say("The ends of a link differ in size"),
        meaning=say("The kernel drops larger packets without a word (is_skb_forwardable)."),
        detected=say("The MTU inside the container is larger than that of the veth's end on the host."),
        fix=say("Give both ends the MTU of the network."),
        find=_unequal_ends,
    ),
)
