"""A Prefect server of the tests' own, and photos that cost nothing to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.helpers import write_photos

# What a user's terminal might have set must not reach the processes under test.
_FOREIGN = ("PREFECT_", "MLFLOW_TRACKING", "SRGAN_")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server; flows of this process run on it."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_RESULTS_DEFAULT_SERIALIZER,
        get_current_settings,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    settings = {
        PREFECT_HOME: home,
        PREFECT_LOCAL_STORAGE_PATH: home / "storage",
        PREFECT_RESULTS_DEFAULT_SERIALIZER: "json",
    }
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=180):
        yield str(get_current_settings().api.url)


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment for a process under test."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image set of 80 people with one photo each, enough for three splits."""
    return write_photos(tmp_path_factory.mktemp("photos") / "people", people=80, seed=1, size=136)
