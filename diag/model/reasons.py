"""The stable codes: reasons, dispositions, symptoms, reachability."""

from __future__ import annotations

from diag.model.enums import Word


class Disposition(Word):
    """What happened to a flow."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    REJECTED = "rejected"
    NO_ROUTE = "no-route"
    UNREACHABLE = "unreachable"
    REPLY_LOST = "reply-lost"
    NAME_NOT_FOUND = "name-not-found"
    UNKNOWN = "unknown"


class Symptom(Word):
    """What the caller sees."""

    OK = "ok"
    TIMEOUT = "timeout"
    ECONNREFUSED = "ECONNREFUSED"
    EHOSTUNREACH = "EHOSTUNREACH"
    ENETUNREACH = "ENETUNREACH"
    EACCES = "EACCES"
    EINVAL = "EINVAL"
    EPERM = "EPERM"
    ECONNRESET = "ECONNRESET"
    """The handshake was answered and the connection reset after it."""
    ENOPROTOOPT = "ENOPROTOOPT"
    """A firewall answered that the protocol is unreachable."""
    ENOTFOUND = "ENOTFOUND"
    UNKNOWN = "unknown"


class Reachability(Word):
    """The result for an ordered pair."""

    REACHABLE = "reachable"
    PARTIAL = "partial"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


class Via(Word):
    """By what a name was resolved."""

    HOSTS = "hosts"
    LINK = "link"
    EMBEDDED_DNS = "embedded-dns"
    EXTRA_HOST = "extra-host"
    EXTERNAL = "external"


class Reason(Word):
    """Why: documented by `diag codes` (:mod:`diag.reach.codes`)."""

    SAME_NETNS = "same-netns"
    SAME_BRIDGE = "same-bridge"
    ROUTED = "routed"
    PUBLISHED_PORT = "published-port"
    DOCKER_PROXY = "docker-proxy"
    HOST_NETNS = "host-netns"
    LOOPBACK = "loopback"
    ISOLATION = "isolation"
    ICC_OFF = "icc-off"
    INTERNAL_NETWORK = "internal-network"
    DIRECT_ACCESS_DROP = "direct-access-drop"
    UNPUBLISHED_PORT = "unpublished-port"
    FIREWALL_DROP = "firewall-drop"
    FIREWALL_REJECT = "firewall-reject"
    POLICY_DROP = "policy-drop"
    NO_COMMON_NETWORK = "no-common-network"
    NETWORK_NONE = "network-none"
    NO_ROUTE = "no-route"
    ROUTE_PROHIBITED = "route-prohibited"
    IP_FORWARD_OFF = "ip-forward-off"
    RP_FILTER = "rp-filter"
    LINK_DOWN = "link-down"
    NO_BRIDGE_PORT = "no-bridge-port"
    NOT_RUNNING = "not-running"
    NO_NEIGHBOUR = "no-neighbour"
    WRONG_ADDRESS = "wrong-address"
    REPLY_BLOCKED = "reply-blocked"
    MACVLAN_ISOLATION = "macvlan-isolation"
    NAME_SCOPE = "name-scope"
    NAME_UNKNOWN = "name-unknown"
    NOT_CAPTURED = "not-captured"
    NOT_MODELLED = "not-modelled"
