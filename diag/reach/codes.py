"""What every reason code means: the one source of `diag codes` and of `docs/codes/reasons.md`."""

from __future__ import annotations

from msgspec import Struct

from diag.model.message import say
from diag.model.reasons import Reason


class Code(Struct, frozen=True):
    """One reason code, in words."""

    code: Reason
    title: str
    works: bool
    """Whether it explains a flow that is delivered."""
    meaning: str
    detected: str
    fix: str


def _good(code: Reason, title: str, meaning: str, detected: str) -> Code:
    return Code(code, title, True, meaning, detected, say("Nothing to fix."))


def _bad(code: Reason, title: str, meaning: str, detected: str, fix: str) -> Code:
    return Code(code, title, False, meaning, detected, fix)


CODES: tuple[Code, ...] = (
    _good(
        Reason.SAME_NETNS,
        say("One network stack"),
        say("Source and destination share a network namespace, so the packet never leaves it."),
        say("The destination address is one of the source namespace's own."),
    ),
    _good(
        Reason.SAME_BRIDGE,
        say("Same bridge"),
        say("Both are ports of one Linux bridge, which carries the packet without routing."),
        say("The neighbour that answers is found across one bridge, and no rule stops the bridged packet."),
    ),
    _good(
        Reason.ROUTED,
        say("Routed"),
        say("The host, or a container that forwards, routes the packet between two networks."),
        say("Forwarding is on, a route exists both ways, and the rules of FORWARD let request and reply pass."),
    ),
    _good(
        Reason.PUBLISHED_PORT,
        say("Published port"),
        say("The packet was sent to an address of the host, and a DNAT rule sends it on to a container."),
        say("A NAT rule at PREROUTING or OUTPUT rewrites the destination."),
    ),
    _good(
        Reason.DOCKER_PROXY,
        say("docker-proxy"),
        say(
            "The packet reaches docker-proxy, a process on the host that opens a connection of its own to the container."
        ),
        say("The host itself takes the packet, and a listening socket stands on a port that a container publishes."),
    ),
    _good(
        Reason.HOST_NETNS,
        say("Host's own stack"),
        say("One end is the host itself or a container with --network host."),
        say("The packet starts or ends in the host's network namespace."),
    ),
    _good(
        Reason.LOOPBACK,
        say("Loopback"),
        say("The destination is a loopback address of a stack that both share."),
        say("The destination lies in 127.0.0.0/8 or is ::1."),
    ),
    _bad(
        Reason.ISOLATION,
        say("Docker keeps networks apart"),
        say("The two are on different Docker networks, and Docker's rules drop what goes from one bridge to another."),
        say("A rule at FORWARD that looks only at the interfaces of two Docker bridges drops the packet."),
        say("Put one of them on a network of the other: docker network connect NETWORK CONTAINER."),
    ),
    _bad(
        Reason.ICC_OFF,
        say("Communication between containers is off"),
        say(
            "The network was made with com.docker.network.bridge.enable_icc=false: its members may not talk to each other."
        ),
        say("Bridged packets meet iptables, and a rule drops what enters and leaves by the same bridge."),
        say("Use a network with ICC on for the two, or --link on the default bridge for single ports."),
    ),
    _bad(
        Reason.INTERNAL_NETWORK,
        say("Internal network"),
        say("The network was made with --internal: nothing gets in from other networks, and nothing out."),
        say("A rule drops by the network's subnet, or its members have no default route."),
        say("Attach a second network to the container that needs a way out or in."),
    ),
    _bad(
        Reason.DIRECT_ACCESS_DROP,
        say("No direct access to container addresses"),
        say(
            "Docker 28 and later drop packets to a container's address that do not come in by its own bridge, before any "
            "other rule sees them."
        ),
        say("A rule at PREROUTING, priority raw, matches the container's address and any other input interface."),
        say(
            "Use a common network, publish the port, or relax it with allow-direct-routing or trusted_host_interfaces."
        ),
    ),
    _bad(
        Reason.UNPUBLISHED_PORT,
        say("Port is not published"),
        say("The port was called from outside the container's network, and no publication sends it on."),
        say("The host refuses a port that nothing listens on, or a rule drops what enters a bridge from elsewhere."),
        say("Publish it with -p, or put the caller on the container's network."),
    ),
    _bad(
        Reason.FIREWALL_DROP,
        say("Firewall rule drops"),
        say("A rule that is not Docker's own drops the packet without an answer."),
        say("The walk through the rules ends at it."),
        say("Change that rule, or accept the pair before it in DOCKER-USER."),
    ),
    _bad(
        Reason.FIREWALL_REJECT,
        say("Firewall rule rejects"),
        say("A rule refuses the packet and tells the sender."),
        say("The walk through the rules ends at a REJECT."),
        say("Change that rule, or accept the pair before it in DOCKER-USER."),
    ),
    _bad(
        Reason.POLICY_DROP,
        say("Chain policy drops"),
        say("No rule decided, and the policy of the base chain is drop."),
        say("The walk reaches the end of a base chain whose policy is DROP."),
        say("Accept the traffic in that chain, in DOCKER-USER for forwarded packets."),
    ),
    _bad(
        Reason.NO_COMMON_NETWORK,
        say("No common network"),
        say("The two share no network, and the destination has no address that the source could use."),
        say("Docker lists no endpoint of the destination that has an address."),
        say("docker network connect NETWORK CONTAINER."),
    ),
    _bad(
        Reason.NETWORK_NONE,
        say("No network at all"),
        say("A container with --network none has no interface but lo."),
        say("Its namespace holds the loopback interface only, or Docker says so."),
        say("docker network disconnect none CONTAINER, then docker network connect NETWORK CONTAINER."),
    ),
    _bad(
        Reason.NO_ROUTE,
        say("No route"),
        say("A namespace on the way has no route to the destination."),
        say("The look-up in its routing tables, policy rules included, finds nothing."),
        say("Give it a route or a default gateway, or a network in common."),
    ),
    _bad(
        Reason.ROUTE_PROHIBITED,
        say("Route forbids it"),
        say("A route of the type blackhole, unreachable or prohibit covers the destination."),
        say("The look-up in the routing tables ends at such a route."),
        say("ip route del that route in the namespace that has it."),
    ),
    _bad(
        Reason.IP_FORWARD_OFF,
        say("Forwarding is off"),
        say("The packet would have to be routed, and the namespace does not forward."),
        say("net.ipv4.ip_forward, or forwarding of the input interface, is 0."),
        say("sysctl -w net.ipv4.ip_forward=1, and make it last in /etc/sysctl.d."),
    ),
    _bad(
        Reason.RP_FILTER,
        say("Source address is not accepted"),
        say(
            "The kernel drops a packet whose source it would not reach by the same interface, or that carries one of its own."
        ),
        say("rp_filter is on and the reverse look-up fails, or the source is a local or loopback address."),
        say("Mend the routes, or loosen it with rp_filter=2 where routes are asymmetric on purpose."),
    ),
    _bad(
        Reason.LINK_DOWN,
        say("Link is down"),
        say("An interface on the way is down: a veth end, a bridge, or a port that does not forward."),
        say("Its flags lack UP, or its bridge port state is not forwarding."),
        say("ip link set dev INTERFACE up."),
    ),
    _bad(
        Reason.NO_BRIDGE_PORT,
        say("veth is on no bridge"),
        say("The host's end of a container's veth pair has no master, so that no frame gets through."),
        say("The link has neither a master nor addresses."),
        say("ip link set dev VETH master BRIDGE; find out what took it off, often a network manager."),
    ),
    _bad(
        Reason.NOT_RUNNING,
        say("Not running"),
        say("A stopped or merely created container has no network stack."),
        say("docker inspect gives another status than running or paused."),
        say("docker start CONTAINER."),
    ),
    _bad(
        Reason.NO_NEIGHBOUR,
        say("Nothing answers"),
        say("No one on the link has the address."),
        say("No namespace on that layer 2 segment would answer ARP or neighbour discovery for it."),
        say("Check the address; a stale one comes from a container that was restarted."),
    ),
    _bad(
        Reason.WRONG_ADDRESS,
        say("Address is not the one Docker gave"),
        say("Docker lists an address for the container that its interfaces do not have."),
        say("docker inspect and the namespace's addresses disagree."),
        say("Disconnect and connect the network again, or restart the container."),
    ),
    _bad(
        Reason.REPLY_BLOCKED,
        say("Reply does not come back"),
        say("The request arrives, but the answer is dropped, has no route, or comes from another address."),
        say("The reply is walked like the request; the deciding line is where it ends."),
        say(
            "Give the other side a route back, or accept ESTABLISHED traffic both ways; for UDP, bind the server to the "
            "address that is called."
        ),
    ),
    _bad(
        Reason.MACVLAN_ISOLATION,
        say("macvlan keeps host and containers apart"),
        say("A macvlan interface does not talk to its parent's host, nor in private mode to its siblings."),
        say("The link is of the kind macvlan or ipvlan, and nothing that may answer has the address."),
        say("Give the host a macvlan interface of its own on the same parent."),
    ),
    _bad(
        Reason.NAME_SCOPE,
        say("Name is out of scope"),
        say(
            "The name belongs to a container, but this one may not resolve it: Docker's DNS serves names on common "
            "user-defined networks only."
        ),
        say("No line of /etc/hosts and no network in common has the name."),
        say("Put both on one user-defined network."),
    ),
    _bad(
        Reason.NAME_UNKNOWN,
        say("No such name"),
        say("Neither the hosts file nor Docker's DNS has the name."),
        say("It is the name, alias or short id of no container."),
        say("Check the spelling, or add it with --network-alias or --add-host."),
    ),
    _bad(
        Reason.NOT_CAPTURED,
        say("Not captured"),
        say("The verdict depends on something that the bundle does not hold."),
        say("Every possible value was tried, and they do not agree."),
        say("Capture again as root: diag capture; the gaps say what is missing."),
    ),
    _bad(
        Reason.NOT_MODELLED,
        say("Not modelled"),
        say("The packet meets a match or a target whose effect is not modelled."),
        say("The rule may match or not, and the verdicts differ."),
        say("Read the rule that is cited; the other verdicts stand."),
    ),
)


def find_code(text: str) -> Code | None:
    """The code with this name."""
    return next((c for c in CODES if c.code.value == text), None)


def codes_markdown() -> str:
    """`docs/codes/reasons.md`."""
    lines = ["# Reason codes", "", "Made by `python -m diag.reach.codes > docs/codes/reasons.md`.", ""]
    for works, title in ((True, "Why it works"), (False, "Why it does not, or cannot be told")):
        lines += [f"## {title}", ""]
        for code in CODES:
            if code.works is works:
                lines += [f"### `{code.code.value}`: {code.title}", "", code.meaning, ""]
                lines += [f"- How it is found: {code.detected}", f"- What helps: {code.fix}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(codes_markdown())
