"""The flows on a real Prefect server, as far as they come without TensorFlow."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import WorkPool
from prefect.states import Running

from flows.failures import is_hiccup
from flows.retrain import Memory, Retraining, dataset_name, image_sets, retrain
from flows.train import train
from srgan.dataset_config import DatasetConfig
from srgan.errors import StorageError
from srgan.workspace import Workspace
from tests.flows.helpers import write_photos

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.usefixtures("prefect_server")]
# Rendered portraits are soft.
SMALL = DatasetConfig.model_validate({"hr_size": 32, "min_sharpness": 0})


def test_server_takes_an_explicit_null_for_the_default(prefect_server: str) -> None:
    """``prefect deploy`` sends such requests; fastapi since 0.151 refuses them."""
    import httpx

    body = {"limit": None, "offset": None, "flows": None}
    response = httpx.post(f"{prefect_server}/flow_runs/filter", json={**body, "sort": "ID_DESC"})
    assert response.status_code == 200, response.text


def test_bad_setting_ends_the_run_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        state = train(preset="tiny", overrides=("trainer.seed=-1",), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert state.message.startswith("tiny: trainer.seed: ")
    assert "\n" not in state.message
    assert not [record for record in caplog.records if record.exc_info]


def test_error_in_a_task_is_the_run_s_message_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = str(tmp_path / "nowhere")
    with caplog.at_level(logging.INFO):
        state = train(image_set=missing, preset="tiny", return_state=True)
    assert state.is_failed()
    assert state.message == f"{missing}: no such file or folder; give one with images"
    assert not [record for record in caplog.records if record.exc_info]


def test_retraining_with_nothing_new_ends_at_once(tmp_path: Path) -> None:
    root = tmp_path / "sets"
    write_photos(root / "First Set", people=4, seed=2)
    write_photos(root / "second", people=4, seed=3)
    workspace = Workspace.from_environment()
    from beam_jobs.build_pairs import build

    digests = []
    for name, place in image_sets(str(root)).items():
        named = SMALL.model_copy(update={"name": dataset_name(name)})
        digests.append(build(place, str(workspace.datasets), named).dataset.digest)
    memory = Memory(workspace, str(root))
    memory.write(Retraining(digests=tuple(sorted(digests)), finished=True))

    loaded = {name for name in ("tensorflow", "mlflow") if name in sys.modules}
    state = retrain(root=str(root), preset="tiny", dataset=SMALL, return_state=True)
    assert state.is_completed(), state
    assert state.message == "nothing new: every image set is in the last training"
    assert {name for name in ("tensorflow", "mlflow") if name in sys.modules} == loaded


def test_retraining_without_image_sets_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    state = retrain(root=str(tmp_path / "sets"), preset="tiny", return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "each sub-folder is an image set" in state.message


def test_unusable_image_set_is_left_out_and_named(tmp_path: Path) -> None:
    root = tmp_path / "sets"
    (root / "broken").mkdir(parents=True)
    (root / "broken" / "a.jpg").write_text("no image")
    state = retrain(root=str(root), preset="tiny", dataset=SMALL, return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "left out" in state.message
    assert "not_an_image" in state.message


def test_unfinished_retraining_keeps_its_start(tmp_path: Path) -> None:
    memory = Memory(Workspace(tmp_path), "gs://faces/sets")
    assert memory.read() == Retraining()
    written = memory.write(Retraining(digests=("a",), initial="models:/srgan-faces/3"))
    assert Memory(Workspace(tmp_path), "gs://faces/sets").read() == written
    assert Memory(Workspace(tmp_path), "gs://other/sets").read() == Retraining()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("First Set", "first-set"),
        ("Ärzte_2024", "rzte-2024"),
        ("___", "faces"),
        ("x" * 90, "x" * 40),
    ],
)
def test_dataset_name_is_a_valid_one(folder: str, name: str) -> None:
    assert dataset_name(folder) == name
    assert SMALL.model_validate({**SMALL.model_dump(), "name": name}).name == name


def test_only_remote_storage_is_tried_again() -> None:
    from prefect.states import Failed

    def failure(text: str, cause: Exception | None) -> object:
        error = StorageError(text)
        error.__cause__ = cause
        return Failed(data=error)

    assert is_hiccup(None, None, failure("gs://b/x: cannot read: reset", OSError("reset")))
    assert not is_hiccup(None, None, failure("gs://b/x: cannot read", FileNotFoundError("x")))
    assert not is_hiccup(None, None, failure("/disk/x: cannot read: reset", OSError("reset")))
    assert not is_hiccup(None, None, failure("gs://b: scheme", None))


def test_dead_runs_of_the_pool_are_closed(tmp_path: Path) -> None:
    from infra.local.prepare_server import close_dead_runs, create_pool

    with get_client(sync_client=True) as client:
        create_pool(client, tmp_path)
        create_pool(client, tmp_path)
        pool: WorkPool = client.read_work_pool("srgan")
        variables = pool.base_job_template["variables"]["properties"]
        assert variables["working_dir"]["default"] == str(tmp_path)
        flow = client.create_flow(train)
        deployment = client.create_deployment(flow, "dead", work_pool_name="srgan")
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Running(), force=True)
        assert close_dead_runs(client) == [run.name]
        state = client.read_flow_run(run.id).state
        assert state is not None
        assert state.is_crashed()
        assert close_dead_runs(client) == []


def test_results_are_small_json(tmp_path: Path) -> None:
    from flows import tasks

    photos = write_photos(tmp_path / "photos", people=12, seed=5)
    from prefect import flow

    @flow(result_serializer="json", persist_result=True)
    def build_only() -> dict[str, object]:
        return dict(tasks.build_dataset(str(photos), SMALL))

    result = build_only()
    assert json.loads(json.dumps(result)) == result
    assert result["already_built"] is False
    assert build_only()["already_built"] is True
