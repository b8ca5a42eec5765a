"""Flows to ask `diag trace` about: `python -m benchmarks.flows HOST OUT --count 20000`, as JSON Lines.

Every container of a bundle folder is as likely a source as any other, and any address of another one as likely a
destination; a part goes to the host's own address, where the published ports are.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plan import UPLINK

Json = dict[str, Any]

_TO_HOST = 0.2
"""The share of flows to the host's address."""
_CLOSED = 0.2
"""The share of the other TCP and UDP flows whose port is drawn from all ports."""
_ICMP = 0.1


def flows(containers: Sequence[Json], count: int, seed: int = 0) -> Iterator[Json]:
    """`count` flows between the containers of `docker inspect`; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(count):
        source, target = rng.choice(containers), rng.choice(containers)
        ports = [(key, binding["HostPort"]) for key, bound in _ports(target).items() for binding in bound]
        key, host_port = rng.choice(ports) if ports else ("80/tcp", "80")
        number, _, protocol = key.partition("/")
        request = {"source": source["Name"].lstrip("/"), "protocol": protocol}
        if rng.random() < _TO_HOST:
            yield {**request, "address": str(UPLINK.ip), "port": int(host_port)}
            continue
        address = rng.choice([endpoint["IPAddress"] for endpoint in target["NetworkSettings"]["Networks"].values()])
        if rng.random() < _ICMP:
            yield {**request, "address": address, "protocol": "icmp"}
        else:
            port = rng.randint(1, 65_535) if rng.random() < _CLOSED else int(number)
            yield {**request, "address": address, "port": port}


def _ports(container: Json) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = container["NetworkSettings"]["Ports"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flows", description="Write flows for diag trace.")
    parser.add_argument("host", type=Path, metavar="HOST", help="a folder that benchmarks.hosts wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--count", type=int, default=20_000, metavar="N", help="how many (default 20000)")
    options = parser.parse_args(arguments)
    containers = json.loads((options.host / "docker/containers.json").read_bytes())
    lines = (json.dumps(flow) + "\n" for flow in flows(containers, options.count))
    options.out.write_text("".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
