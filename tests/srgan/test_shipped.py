"""The models that come with the package, and enlarging with them when nothing else is there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from infra.models.publish import MAX_BYTES
from infra.models.recipe import read_recipe, recipe_names
from srgan import model_choice, registry, shipped
from srgan.card import make_card
from srgan.cli import app
from srgan.degrade import degrade
from srgan.errors import ModelError, RegistryError
from srgan.evaluation import bicubic
from srgan.metrics import psnr_y
from srgan.model_choice import choose_model
from srgan.packed import load_packed, write_packed
from srgan.registry import register
from srgan.shipped import DEFAULT, load_shipped, shipped_folder, shipped_names
from srgan.workspace import Workspace
from tests.srgan.pairs import scene
from tests.srgan.tiny import config_for, new_workspace, publish_model, reference, tiny_generator
from tests.support import ROOT, shared_data


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packaged models, as an installation has it."""
    folder = tmp_path_factory.mktemp("installation")
    for seed, name in enumerate(("faces-x4", DEFAULT)):
        card = make_card(config_for(4), [], None, run_id=name, steps={"pretrain": 3})
        write_packed(tiny_generator(seed=seed), folder / name, card, "float32")
    return folder


@pytest.fixture
def installed(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These models are the ones that came with the package."""
    monkeypatch.setattr(shipped, "shipped_folder", lambda: packages)
    return packages


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "small.png"
    Image.fromarray(scene(2, 24)[:17]).save(path)
    return path


def enlarged(photo: Path, *options: str) -> tuple[str, np.ndarray]:
    out = photo.parent / "out"
    done = CliRunner().invoke(app, ["upscale", str(photo), f"{out}/", *options])
    assert done.exit_code == 0, done.output
    with Image.open(out / photo.name) as image:
        return done.output, np.asarray(image)


def pixels(seed: int, photo: Path) -> np.ndarray:
    with Image.open(photo) as image:
        return reference(tiny_generator(seed=seed), np.asarray(image)[None])[0]


@pytest.mark.usefixtures("installed")
def test_a_photo_is_enlarged_with_nothing_but_the_package(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    output, large = enlarged(photo)
    np.testing.assert_array_equal(large, pixels(1, photo))
    first = output.splitlines()[0]
    assert first.startswith("model: faces-x4-real (comes with the package; the workspace ")
    assert first.endswith(" has no champion)")
    out = tmp_path / "out"
    assert set(tmp_path.rglob("*")) - before == {out, out / "small.png"}


def test_a_model_is_named_in_every_way(installed: Path, photo: Path, tmp_path: Path) -> None:
    tiny_generator(seed=5).save(tmp_path / "own.keras")
    for reference_, seed in (
        ("faces-x4", 0),
        (str(installed / DEFAULT), 1),
        (str(tmp_path / "own.keras"), 5),
    ):
        output, large = enlarged(photo, "--model", reference_)
        np.testing.assert_array_equal(large, pixels(seed, photo))
        assert f"model: {reference_} (as asked for)" in output


@pytest.mark.usefixtures("installed")
def test_a_model_that_is_not_packaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'cats-x4'; there is faces-x4, faces-x4-real"):
        load_shipped("cats-x4")
    with pytest.raises(ModelError, match=r"no model 'cats-x4': give .* faces-x4-real"):
        registry.resolve_model("cats-x4", Workspace(tmp_path))


@pytest.mark.usefixtures("installed")
def test_the_champion_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = new_workspace(tmp_path / "ws", monkeypatch)
    assert choose_model(None, workspace).reference == DEFAULT
    folder = tmp_path / "model"
    publish_model(folder, "run-1")
    version = register(folder, workspace)
    assert choose_model(None, workspace).reference == DEFAULT
    client = registry.connect(workspace)
    client.set_registered_model_alias(version.name, registry.CHAMPION, str(version.version))
    choice = choose_model(None, workspace)
    assert choice.reference == version.uri
    assert choice.reason == f"the champion of the workspace {workspace.root}"
    assert choose_model("faces-x4", workspace).reason == "as asked for"


@pytest.mark.usefixtures("installed")
def test_where_nothing_can_be_chosen_one_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "ws")
    with pytest.raises(ModelError, match=r"ws has no champion of scale 8, and .* 4 times"):
        choose_model(None, workspace, scale=8)
    monkeypatch.setattr(model_choice, "shipped_names", lambda: ["faces-x4"])
    with pytest.raises(ModelError, match="faces-x4-real is not in this installation"):
        choose_model(None, workspace)
    # Another model than yesterday's must not come of a server that is down.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match=r"does not answer; .* --model faces-x4-real"):
        choose_model(None, workspace)
    assert choose_model("faces-x4", workspace).reference == "faces-x4"


def test_choosing_does_not_import_mlflow_and_tensorflow_starts_alone() -> None:
    code = (
        "import sys\n"
        "from srgan import model_choice\n"
        "from srgan.quiet import start_tensorflow\n"
        "from srgan.workspace import Workspace\n"
        "model_choice.shipped_names = lambda: ['faces-x4-real']\n"
        "print(model_choice.choose_model(None, Workspace.from_environment()).reference)\n"
        "start_tensorflow()\n"
        "print(sorted({'mlflow', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules)))\n"
        "import scipy.ndimage, matplotlib.pyplot, pandas\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["faces-x4-real", "[]"], done.stderr
    assert not Path(os.environ["SRGAN_WORKSPACE"]).exists()


@pytest.mark.usefixtures("installed")
def test_training_can_start_from_a_packaged_model(tmp_path: Path) -> None:
    from srgan.checkpoints import load_generator
    from srgan.pipeline import _initial_generator

    workspace = Workspace(tmp_path / "ws")
    path, name = _initial_generator("faces-x4", config_for(4), workspace)
    assert path is not None
    assert name is not None
    assert name.startswith("faces-x4 ")
    assert _initial_generator("faces-x4", config_for(4), workspace) == (path, name)
    expected = tiny_generator(seed=0).get_weights()
    for got, want in zip(load_generator(path).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_the_wheel_has_the_models(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "srgan/presets/faces-cpu.yaml" in names
    expected = {
        f"srgan/models/{path.relative_to(shipped_folder()).as_posix()}"
        for name in shipped_names()
        for path in (shipped_folder() / name).iterdir()
    }
    assert expected <= names
    assert not [name for name in names if name.startswith("infra")]


@pytest.mark.parametrize("name", recipe_names())
def test_what_ships_is_what_its_card_says(name: str) -> None:
    if name not in shipped_names():
        pytest.skip(f"{name} is not in this working copy; infra/models/make.py makes it")
    folder = shipped_folder() / name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    model = load_shipped(name)
    card = model.card
    assert card is not None
    assert card.title == read_recipe(name).title
    assert "Labeled Faces in the Wild" in card.data_terms[0]
    assert "research" in card.data_terms[0]
    assert "not for identification" in " ".join(card.limits).lower()
    assert all(len(dataset.digest) == 64 and "/" not in dataset.place for dataset in card.datasets)
    assert card.training.keys() >= {"Time", "Hardware", "Weights"}
    metrics = card.metrics
    assert metrics is not None
    assert metrics.images > 100
    assert metrics.systems["model"]["lpips_alex"] < metrics.systems["bicubic"]["lpips_alex"]
    assert metrics.systems["model"]["psnr_y"] > metrics.systems["bicubic"]["psnr_y"]


@pytest.mark.parametrize("name", recipe_names())
def test_what_ships_beats_bicubic_on_other_faces(name: str) -> None:
    if name not in shipped_names():
        pytest.skip(f"{name} is not in this working copy; infra/models/make.py makes it")
    faces = sorted((shared_data() / "faces" / "utk").glob("*.jpg"))[::110]
    config = read_recipe(name).datasets[0]
    model = load_packed(shipped_folder() / name)
    gains = []
    for path in faces:
        with Image.open(path) as image:
            hr = np.asarray(image.convert("RGB").crop((36, 36, 164, 164)))
        lr = degrade(hr, config, path.name)[None]
        pair = [psnr_y(hr, system(lr)[0], border=4) for system in (model, bicubic(4))]
        gains.append(pair[0] - pair[1])
    assert len(gains) >= 10
    assert np.mean(gains) > 0.5
