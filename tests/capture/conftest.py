"""Network namespaces for tests that need real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def make_netns() -> Iterator[Callable[[], str]]:
    """Makes empty network namespaces by name, below `/run/netns`, and deletes them.

    Without root the test is skipped, except in CI, which must have it.
    """
    reason = "not root" if os.geteuid() else "" if shutil.which("ip") else "iproute2 is not installed"
    if reason and os.environ.get("CI"):
        pytest.fail(f"the tests with namespaces cannot run in CI: {reason}")
    if reason:
        pytest.skip(reason)
    made: list[str] = []

    def make() -> str:
        name = f"diag-test-{uuid.uuid4().hex[:8]}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        made.append(name)
        return name

    yield make
    for name in made:
        subprocess.run(["ip", "netns", "del", name], check=False)
