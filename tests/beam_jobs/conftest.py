"""An image set, and the dataset that an undisturbed build makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_jobs.build_pairs import build
from tests.beam_jobs.image_sets import SMALL, hashes, write_set


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six folders of four pictures."""
    return write_set(tmp_path / "people")


@pytest.fixture
def reference(people: Path, tmp_path: Path) -> dict[str, str]:
    """What an undisturbed build gives: sha256 of every file."""
    build(str(people), str(tmp_path / "reference"), SMALL)
    return hashes(tmp_path / "reference")
