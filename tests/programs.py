"""Programs of others that judge what the product writes."""

from __future__ import annotations

import os
import shutil
import sysconfig

import pytest


def program(name: str) -> str:
    """Its path. Where it is not installed the test is skipped, except in CI, which must have what it takes."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), sysconfig.get_path("scripts"))))
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: scripts/setup.sh test")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
