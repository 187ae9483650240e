"""What tests need from the machine, and what happens where it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def needs(thing: str, available: object, reason: str) -> None:
    """Skip the test with a reason where ``thing`` is not there.

    ``SRGAN_REQUIRE=shared-data,chromium`` (or ``all``) turns such a skip into a failure: where a
    machine is meant to have it, a test that does not run must not look like one that passed.
    """
    if available:
        return
    required = os.environ.get("SRGAN_REQUIRE", "").replace(",", " ").split()
    if thing in required or "all" in required:
        pytest.fail(f"{thing} is required (SRGAN_REQUIRE) but missing: {reason}")
    pytest.skip(f"{thing}: {reason}")


def shared_data() -> Path:
    """Folder of real faces, benchmark pictures and weights; skips where it is not at hand."""
    path = Path(os.environ.get("SRGAN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    needs("shared-data", path.is_dir(), f"{path} is not there; SRGAN_SHARED_DATA names it")
    return path


def lines_until(process: subprocess.Popen[str], start: str) -> list[str]:
    """What a program prints, up to the line that begins with ``start``; it must not end before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return lines
    pytest.fail("".join(lines))


def program(thing: str, *names: str) -> str:
    """The first of ``names`` on the PATH; skips where there is none."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    needs(thing, found, f"none of {', '.join(names)} is installed")
    assert found is not None
    return found
