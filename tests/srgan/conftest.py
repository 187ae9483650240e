"""What many tests of training share."""

from __future__ import annotations

import pytest

from srgan.records import Dataset
from tests.srgan.pairs import make_training_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small dataset with all splits; nothing writes into it."""
    return make_training_dataset(tmp_path_factory.mktemp("data"))
