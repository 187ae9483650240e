from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan import identity, images, scores
from srgan.config import EvaluationConfig
from srgan.errors import ConfigError
from srgan.evaluation import evaluate
from srgan.identity import Identity, load_identity
from srgan.images import Pixels
from srgan.metrics import SAME_PERSON
from srgan.report import RunSummary, render_report
from srgan.verdict import verdict
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, nearest, scene
from tests.support import needs, shared_data


@pytest.fixture(scope="module")
def dlib_identity() -> Identity:
    try:
        return load_identity()
    except ConfigError as error:
        needs("faces", False, str(error))
        raise


@pytest.fixture(scope="module")
def people() -> dict[str, list[Pixels]]:
    """Central 128 px of three photos each of eight people."""
    photos: dict[str, list[Pixels]] = defaultdict(list)
    for path in sorted((shared_data() / "faces" / "lfw").glob("*/*.jpg")):
        if len(photos[path.parent.name]) < 3 and len(photos) <= 120:
            with Image.open(path) as image:
                photos[path.parent.name].append(np.asarray(image.crop((61, 61, 189, 189))))
    several = {name: faces for name, faces in photos.items() if len(faces) == 3}
    return dict(list(several.items())[:8])


def bicubic(hr: Pixels) -> Pixels:
    height, width = hr.shape[:2]
    return images.resize(images.resize(hr, width // 4, height // 4), width, height)


def test_one_person_is_nearer_than_another(
    dlib_identity: Identity, people: dict[str, list[Pixels]]
) -> None:
    """The figures that LFW is known to give: the same person 0.4, another 0.8."""
    same, other = [], []
    for name, faces in people.items():
        # Photos of LFW are aligned with one another, so one's landmarks do for the other.
        found = dlib_identity.distances(faces[0], faces[1:])
        assert found is not None
        same += found
        strangers = [photos[0] for stranger, photos in people.items() if stranger != name]
        other += dlib_identity.distances(faces[0], strangers) or []
    assert 0.3 < statistics.median(same) < 0.5
    assert 0.7 < statistics.median(other) < 0.95
    assert statistics.mean(d < SAME_PERSON for d in same) > 0.85
    assert statistics.mean(d < SAME_PERSON for d in other) < 0.05


def test_a_blurred_face_is_further_from_itself(
    dlib_identity: Identity, people: dict[str, list[Pixels]]
) -> None:
    faces = [faces[0] for faces in people.values()]
    distances = []
    for face in faces:
        found = dlib_identity.distances(face, [face, bicubic(face)])
        assert found is not None
        assert found[0] == 0.0
        distances.append(found[1])
    assert 0.25 < statistics.mean(distances) < 0.4


def test_a_face_that_fills_its_crop_is_found(dlib_identity: Identity) -> None:
    path = shared_data() / "faces" / "lfw" / "Harry_Schmidt" / "Harry_Schmidt_0001.jpg"
    with Image.open(path) as image:
        face = np.asarray(image.crop((61, 61, 189, 189)))
    assert not dlib_identity.detector(face, 1)
    found = dlib_identity.distances(face, [face, bicubic(face)])
    assert found is not None
    assert found[0] == 0.0
    assert 0.1 < found[1] < SAME_PERSON


def test_what_is_no_face_has_no_identity(dlib_identity: Identity) -> None:
    assert dlib_identity.distances(scene(3, 128), [scene(3, 128)]) is None


@pytest.mark.usefixtures("dlib_identity")
def test_pictures_without_a_face_are_left_out_of_the_mean(
    people: dict[str, list[Pixels]], tmp_path: Path
) -> None:
    faces = [photos[0] for photos in people.values()][:3]
    dataset = make_dataset(tmp_path / "d", [*faces, scene(1, 128), scene(2, 128)])
    config = EvaluationConfig(lpips="off")
    workspace = Workspace(tmp_path)
    measured = evaluate({"model": nearest}, [dataset], config, workspace=workspace)
    rows = scores.measured_on(measured, "identity_distance")
    assert len(rows) == 3
    values = [row.metrics["model"]["identity_distance"] for row in rows]
    assert measured.systems["model"]["identity_distance"] == pytest.approx(np.mean(values))
    kept = measured.systems["model"]["identity_kept"]
    assert kept == np.mean([value < SAME_PERSON for value in values])
    assert measured.images == 5
    assert len(scores.ranked(measured, metric="identity_distance")) == 3
    assert scores.per_image_csv(measured).count(b"\n") == 6
    said = " ".join(verdict(measured).paragraphs)
    assert f"takes {round(3 * kept)} of 3 faces for the same person" in said
    html = render_report(measured, [], title="t", run=RunSummary(name="n", run_id="r", config=""))
    assert "of 3</td>" in html
    assert ">–</td>" in html


@pytest.mark.usefixtures("dlib_identity")
def test_without_any_face_the_reason_is_given(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", [scene(1, 64)])
    measured = evaluate(
        {"model": nearest}, [dataset], EvaluationConfig(lpips="off"), workspace=Workspace(tmp_path)
    )
    reason = measured.not_measured["identity_distance"]
    assert reason == "none of the 1 pictures shows a face from the front"


def test_without_dlib_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> Identity:
        raise ConfigError("faces are measured with dlib (No module named 'dlib'): pip install x")

    monkeypatch.setattr("srgan.measurement.load_identity", absent)
    dataset = make_dataset(tmp_path / "d", [scene(1, 64)])
    config = EvaluationConfig(lpips="off")
    measured = evaluate({"model": nearest}, [dataset], config, workspace=Workspace(tmp_path))
    assert "No module named 'dlib'" in measured.not_measured["identity_distance"]
    off = EvaluationConfig(lpips="off", identity="off")
    measured = evaluate({"model": nearest}, [dataset], off, workspace=Workspace(tmp_path))
    assert "evaluation.identity is off" in measured.not_measured["identity_kept"]


def test_another_descriptor_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("faces", _has_dlib(), "dlib is not installed")
    monkeypatch.setattr(identity, "_SHA256", "0" * 64)
    load_identity.cache_clear()
    with pytest.raises(ConfigError, match=r"resnet_model_v1.dat: not the known model"):
        load_identity()
    load_identity.cache_clear()


def _has_dlib() -> bool:
    try:
        load_identity()
    except ConfigError:
        return False
    return True
