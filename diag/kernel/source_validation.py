"""Whether a packet's source may come in by a link: the part of net/ipv4/fib_frontend.c that looks at routes alone."""

from __future__ import annotations

from diag.model.netns import Route, RouteType


def passes_rp_filter(back: Route | None, link: str, mode: int | None) -> bool | None:
    """Whether rp_filter takes a packet that came in by a link, by the route back to its source (__fib_validate_source()).

    None: the sysctl decides, and `mode` is not known.
    """
    unicast = back is not None and back.type is RouteType.UNICAST
    if back is not None and unicast and any(nexthop.dev == link for nexthop in back.nexthops):
        return True
    return None if mode is None else mode == 0 or (mode == 2 and unicast)
