"""What the stack leaves for other terminals, and for nobody else."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from infra.local import handover
from srgan.errors import SrganError
from srgan.workspace import read_environment_file

VALUES = {
    "PREFECT_HOME": "/some place/prefect",
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
    "PREFECT_API_AUTH_STRING": "admin:secret",
}


def test_environment_file_is_private_readable_and_gone_at_the_end(tmp_path: Path) -> None:
    with handover.owned_environment_file(tmp_path) as path:
        handover.publish(path, "mark", VALUES)
        assert path == tmp_path / ".srgan.env"
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert read_environment_file(path) == {"SRGAN_STACK": "mark", **VALUES}
        assert all(line.startswith(("#", "export ")) for line in path.read_text().splitlines())
        assert handover.previous_mark(path) == "mark"
    assert not path.exists()


def test_second_stack_is_told_about_the_first(tmp_path: Path) -> None:
    with handover.owned_environment_file(tmp_path) as path:
        handover.publish(path, "mark", VALUES)
        with (
            pytest.raises(
                handover.AlreadyRunningError, match=r"already running \(http://127\.0\.0\.1:4200\)"
            ),
            handover.owned_environment_file(tmp_path),
        ):
            pass
        assert path.exists()


def test_file_of_a_killed_stack_is_taken_over(tmp_path: Path) -> None:
    left = tmp_path / ".srgan.env"
    left.write_text("# Written by `make stack`\nexport SRGAN_STACK=old\n")
    with handover.owned_environment_file(tmp_path) as path:
        assert handover.previous_mark(path) == "old"


def test_file_of_the_user_s_own_is_not_touched(tmp_path: Path) -> None:
    own = tmp_path / ".srgan.env"
    own.write_text("MLFLOW_TRACKING_URI=https://mlflow.example.org\n")
    with (
        pytest.raises(SrganError, match=r"\.srgan\.env was not written by the stack"),
        handover.owned_environment_file(tmp_path),
    ):
        pass
    assert own.exists()


def test_prefect_settings_are_what_prefect_reads(tmp_path: Path) -> None:
    assert handover.publish_prefect_settings(tmp_path, "mark", VALUES)
    path = tmp_path / "prefect.toml"
    settings = tomllib.loads(path.read_text())
    assert settings["home"] == "/some place/prefect"
    assert settings["api"] == {"url": VALUES["PREFECT_API_URL"], "auth_string": "admin:secret"}
    assert settings["results"]["default_serializer"] == "json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    handover.withdraw_prefect_settings(tmp_path, "another mark")
    assert path.exists()
    handover.withdraw_prefect_settings(tmp_path, "mark")
    assert not path.exists()


def test_prefect_settings_of_the_user_s_own_stay(tmp_path: Path) -> None:
    own = tmp_path / "prefect.toml"
    own.write_text("[api]\nurl = 'https://prefect.example.org/api'\n")
    assert not handover.publish_prefect_settings(tmp_path, "mark", VALUES)
    handover.withdraw_prefect_settings(tmp_path, "mark")
    assert "example.org" in own.read_text()
