from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient

from srgan.card import CARD
from srgan.errors import ModelError, RegistryError
from srgan.export import load_exported
from srgan.mlflow_store import shown
from srgan.registry import (
    champion,
    check_connection,
    find_version,
    list_versions,
    register,
    registered_name,
    resolve_model,
)
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, scene
from tests.srgan.tiny import empty_database, new_workspace, publish_model

SHAPES = ((1, 1, 1), (2, 7, 5), (1, 33, 20))
# What anybody runs who has MLflow and TensorFlow, and not this project.
STRANGER = """
import sys
sys.modules["srgan"] = None
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
probes = numpy.load("probes.npz")
numpy.savez("pixels.npz", **{name: model.predict(probes[name]) for name in probes})
assert not [name for name in sys.modules if name.startswith("srgan.")]
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    dataset = make_dataset(tmp_path_factory.mktemp("faces-1"), [scene(1, 16)], split="train")
    publish_model(folder, "run-1", datasets=[dataset])
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return new_workspace(tmp_path / "workspace", monkeypatch)


def probes() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        f"p{i}": random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        for i, shape in enumerate(SHAPES)
    }


def predict_as_stranger(uri: str, folder: Path) -> dict[str, np.ndarray]:
    np.savez(folder / "probes.npz", **probes())
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, uri],
        cwd=folder,
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "pixels.npz") as pixels:
        return dict(pixels)


def test_a_version_is_tagged_with_its_run_data_and_figures(
    published: Path, workspace: Workspace
) -> None:
    version = register(published, workspace)
    card = load_exported(published).card
    assert card is not None
    assert (version.name, version.version, version.run_id) == ("srgan-faces", 1, "run-1")
    assert version.uri == "models:/srgan-faces/1"
    assert version.tags["srgan.dataset_digests"] == card.datasets[0].digest
    assert (version.tags["psnr_y"], version.tags["bicubic_psnr_y"]) == ("30", "28")
    assert version.model_sha256 == hashlib.sha256((published / CARD).read_bytes()).hexdigest()
    client = MlflowClient()
    run = client.get_run(client.get_model_version("srgan-faces", "1").run_id)
    assert run.data.tags["srgan.run_id"] == "run-1"


def test_what_is_registered_is_the_exported_folder_and_no_code(
    published: Path, workspace: Workspace, tmp_path: Path
) -> None:
    register(published, workspace)
    got = Path(download_artifacts("models:/srgan-faces/1", dst_path=str(tmp_path / "got")))
    files = {p.relative_to(got).as_posix(): p.read_bytes() for p in got.rglob("*") if p.is_file()}
    for path in published.rglob("*"):
        if path.is_file():
            assert files.pop(path.relative_to(published).as_posix()) == path.read_bytes()
    environment = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    assert environment <= set(files) <= environment | {"registered_model_meta"}
    assert b"cloudpickle" not in files["requirements.txt"]


def test_registering_a_run_again_changes_nothing_but_new_weights_do(
    published: Path, workspace: Workspace, tmp_path: Path
) -> None:
    first = register(published, workspace)
    assert register(published, workspace) == first
    publish_model(tmp_path / "again", "run-1")
    # Exported anew, the files differ in their time stamps; the weights are the same.
    assert register(tmp_path / "again", workspace) == first
    publish_model(tmp_path / "other", "run-1", seed=8)
    assert register(tmp_path / "other", workspace).version == 2
    runs = MlflowClient().search_runs(["1"], "tags.`srgan.run_id` = 'run-1'")
    assert len(runs) == 1


def test_scales_do_not_share_a_name(workspace: Workspace, tmp_path: Path) -> None:
    publish_model(tmp_path / "x2", "run-2", scale=2)
    assert register(tmp_path / "x2", workspace).name == "srgan-faces-x2"
    assert [registered_name(s) for s in (2, 4, 8)] == [
        "srgan-faces-x2",
        "srgan-faces",
        "srgan-faces-x8",
    ]
    assert champion(workspace, 2) is None
    MlflowClient().set_registered_model_alias("srgan-faces-x2", "champion", "1")
    assert resolve_model("champion", workspace, scale=2).scale == 2


def test_a_model_without_a_card_is_not_registered(workspace: Workspace, tmp_path: Path) -> None:
    publish_model(tmp_path / "model", "run-3")
    (tmp_path / "model" / CARD).unlink()
    with pytest.raises(ModelError, match=r"no model_card\.json"):
        register(tmp_path / "model", workspace)
    assert list_versions(workspace) == []


def test_references_resolve_and_are_cached(published: Path, workspace: Workspace) -> None:
    version = register(published, workspace)
    client = MlflowClient()
    client.set_registered_model_alias("srgan-faces", "challenger", "1")
    batch = probes()["p1"]
    expected = load_exported(published)(batch)
    for ref in ("challenger", "models:/srgan-faces/1", "models:/srgan-faces@challenger"):
        np.testing.assert_array_equal(resolve_model(ref, workspace)(batch), expected)
    np.testing.assert_array_equal(resolve_model(str(published), workspace)(batch), expected)
    assert [path.name for path in (workspace.cache / "models").iterdir()] == [version.model_sha256]
    assert find_version("challenger", workspace).aliases == ("challenger",)


def test_a_damaged_cache_is_fetched_again(published: Path, workspace: Workspace) -> None:
    version = register(published, workspace)
    resolve_model(version.uri, workspace)
    cached = workspace.cache / "models" / version.model_sha256 / "generator.keras"
    cached.write_bytes(b"damaged")
    assert resolve_model(version.uri, workspace).scale == 4
    assert cached.read_bytes() != b"damaged"


def test_a_model_that_was_changed_in_the_store_is_refused(
    published: Path, workspace: Workspace
) -> None:
    version = register(published, workspace)
    [card] = workspace.artifacts.rglob(CARD)
    tree = json.loads(card.read_text("utf-8"))
    tree["run_id"] = "another"
    card.write_text(json.dumps(tree), "utf-8")
    with pytest.raises(ModelError, match=f"the registry says {version.model_sha256}"):
        resolve_model(version.uri, workspace)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("champion", "no model 'champion' in sqlite:.* there is models:/srgan-faces/1; train one"),
        ("models:/srgan-faces/7", "there is models:/srgan-faces/1"),
        ("models:/nobody@champion", "there is models:/srgan-faces/1"),
        ("models:/srgan-faces", "names no model; write champion"),
        ("does/not/exist", "give champion, challenger"),
    ],
)
def test_an_unknown_reference_is_one_line_that_says_what_there_is(
    published: Path, workspace: Workspace, ref: str, message: str
) -> None:
    register(published, workspace)
    with pytest.raises(ModelError, match=message) as caught:
        resolve_model(ref, workspace)
    assert "\n" not in str(caught.value)


def test_an_empty_registry_says_how_to_train(workspace: Workspace) -> None:
    with pytest.raises(ModelError, match="no model is registered; train one with `srgan train`"):
        resolve_model("champion", workspace)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://127.0.0.1:9", "MLflow at http://127.0.0.1:9 does not answer; start the server"),
        ("postgresql://me:secret@127.0.0.1:9/x", r"postgresql://me:\*\*\*@127.0.0.1:9/x does not"),
        ("./mlruns", "MLFLOW_TRACKING_URI=./mlruns: not supported; use sqlite:///"),
    ],
)
def test_an_mlflow_that_is_not_there_is_told_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = dict(os.environ)
    started = time.monotonic()
    with pytest.raises(RegistryError, match=message) as caught:
        check_connection(Workspace(tmp_path))
    assert time.monotonic() - started < 20
    assert "\n" not in str(caught.value)
    assert dict(os.environ) == before


def test_a_file_that_is_no_database_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("hello " * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'notes.txt'}")
    with pytest.raises(RegistryError, match=r"notes\.txt: .*file is not a database") as caught:
        check_connection(Workspace(tmp_path))
    assert "\n" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    assert shown("postgresql://u:p%40ss@db:5432/m") == "postgresql://u:***@db:5432/m"
    assert shown("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real MLflow server on loopback, with its database and artifacts in a folder of its own."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(empty_database())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += ["--workers=1", f"--backend-store-uri=sqlite:///{tmp_path}/server/mlflow.db"]
    command += [f"--artifacts-destination={tmp_path}/server/artifacts"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (tmp_path / "server" / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path / "server", env=environment, stdout=log, stderr=log
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{uri}/health", process, tmp_path / "server" / "log")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.server
def test_over_http_a_stranger_loads_what_was_registered(
    server: str, published: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    version = register(published, workspace)
    assert register(published, workspace) == version
    MlflowClient().set_registered_model_alias(version.name, "champion", str(version.version))
    exported = load_exported(published)
    pixels: dict[str, Any] = predict_as_stranger("models:/srgan-faces@champion", tmp_path)
    fetched = resolve_model("champion", workspace)
    for name, probe in probes().items():
        np.testing.assert_array_equal(pixels[name], exported(probe))
        np.testing.assert_array_equal(fetched(probe), exported(probe))
    assert not (tmp_path / "workspace" / "mlflow.db").exists()
    assert server == os.environ["MLFLOW_TRACKING_URI"]
