from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from srgan.dataset_config import FaceConfig
from srgan.errors import ConfigError
from srgan.faces import Face, align_face, open_detector
from srgan.faces.face import ordered, quantised, suppressed
from srgan.images import ImageRejectedError, Pixels
from tests.srgan.faces.people import (
    crops,
    decibels,
    detector,
    group_photo,
    photo,
    portrait,
    turned,
    turned_point,
    yunet_file,
)
from tests.support import ROOT, shared_data

KINDS = ["yunet", "dlib"]

# Faces to be seen in each photo, by eye, and how many of them dlib finds.
SEEN = {
    "codeformer_00.jpg": (4, 4),
    "codeformer_02.png": (4, 4),
    "dlib_2007_007763.jpg": (7, 6),
    "dlib_2008_002079.jpg": (6, 6),
    "dlib_2008_004176.jpg": (7, 7),
    "dlib_2008_007676.jpg": (7, 7),
    "dlib_bald_guys.jpg": (25, 24),
    "facenetpytorch_multiface.jpg": (6, 6),
    "facerec_obama_and_biden.jpg": (3, 3),
    "facerec_two_people.jpg": (2, 2),
    "gfpgan_00.jpg": (2, 2),
    "gfpgan_10045.png": (3, 3),
    "realesrgan_children-alpha.png": (5, 5),
    "ultralight_1.jpg": (52, 10),
    "ultralight_11.jpg": (26, 26),
    "ultralight_12.jpg": (5, 4),
    "ultralight_13.jpg": (2, 2),
    "ultralight_15.jpg": (16, 16),
    "ultralight_16.jpg": (9, 9),
    "ultralight_21.jpg": (5, 5),
}


def roll(face: Face) -> float:
    return math.degrees(math.atan2(face.right[1], face.right[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_photo_of_20_gives_20_faces(kind: str) -> None:
    photo = group_photo()
    faces = detector(kind, 64).find(photo)
    squares = {(int(face.eyes[0] // 160), int(face.eyes[1] // 160)) for face in faces}
    assert len(squares) == len(faces)
    assert len(faces) == 20 if kind == "yunet" else len(faces) >= 18
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)
    for face in faces:
        aligned = align_face(photo, face, FaceConfig(), 64)
        assert 64 <= aligned.side <= 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [-25, 15])
def test_a_head_is_followed_as_it_leans(kind: str, degrees: float) -> None:
    find = detector(kind, 64).find
    for person in range(3):
        people = np.pad(portrait(person), ((60, 60), (60, 60), (0, 0)), constant_values=96)
        other = turned(people, degrees)
        (upright,), (leaning,) = find(people), find(other)
        assert roll(leaning) - roll(upright) == pytest.approx(degrees, abs=4)
        assert leaning.size == pytest.approx(upright.size, rel=0.1)
        expected = turned_point(upright.eyes, people.shape, other.shape, degrees)
        assert math.dist(leaning.eyes, expected) < 0.03 * upright.size


def test_a_photo_on_its_head_gives_upright_portraits() -> None:
    people = photo("codeformer_02.png")
    first = crops(people, "yunet", 64)
    second = crops(np.ascontiguousarray(people[::-1, ::-1]), "yunet", 64)
    assert len(first) == len(second) == 4
    for one in first:
        assert max(decibels(one, other) for other in second) > 25


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_face_is_none_is_found(kind: str) -> None:
    rng = np.random.default_rng(5)
    find = detector(kind, 32).find
    assert find(np.zeros((200, 300, 3), np.uint8)) == []
    assert find(rng.integers(0, 256, (240, 240, 3), np.uint8)) == []
    for height, width in ((1, 1), (3, 900), (900, 3), (20, 20)):
        assert find(rng.integers(0, 256, (height, width, 3), np.uint8)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_small_faces_of_a_large_photo_are_found(kind: str) -> None:
    large = np.full((1800, 2600, 3), 120, np.uint8)
    large[900:1092, 2000:2192] = portrait(1)
    (face,) = detector(kind, 128).find(large)
    assert 2000 < face.eyes[0] < 2192
    assert 900 < face.eyes[1] < 1092
    assert align_face(large, face, FaceConfig(), 128).side < 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_that_fills_a_large_photo_is_found_whatever_the_crop(kind: str) -> None:
    large = np.asarray(Image.fromarray(portrait(2)).resize((1500, 1500)))
    for hr_size in (32, 512):
        (face,) = detector(kind, hr_size).find(large)
        assert 400 < face.size < 1000


def test_faces_too_small_to_use_are_still_named() -> None:
    small = group_photo(2, 2, 128)
    faces = detector("yunet", 128).find(small)
    assert len(faces) == 4
    for face in faces:
        with pytest.raises(ImageRejectedError, match="small_face"):
            align_face(small, face, FaceConfig(), 128)


def test_coordinates_are_quarters_of_a_pixel() -> None:
    for face in detector("dlib", 64).find(group_photo(2, 3)):
        for value in (*face.left_eye, *face.right_eye, *face.mouth, *face.box):
            assert value * 4 == int(value * 4)


def test_order_and_overlap() -> None:
    def box(left: float, top: float, side: float, score: float) -> Face:
        return Face((left, top), (left + 1, top), (left, top + 1), (left, top, side, side), score)

    large, small, part = box(0, 0, 50, 0.8), box(60, 0, 40, 0.9), box(65, 5, 20, 0.85)
    lower = box(60, 60, 40, 0.9)
    faces = [part, lower, small, large]
    assert ordered(faces) == [large, small, lower, part]
    assert ordered(suppressed(faces)) == [large, small, lower]
    assert suppressed(faces) == suppressed(faces[::-1])
    assert quantised(box(0.126, 0.124, 1, 0.876), 4) == box(0.25, 0.0, 1, 0.88)
    assert quantised(box(0.6, -0.6, 1, 0.876), 1) == box(1, -1, 1, 0.88)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_faces_of_real_photos(kind: str) -> None:
    finder = detector(kind, 32)
    found = {name: len(finder.find(photo(name))) for name in SEEN}
    if kind == "yunet":
        assert found == {name: seen for name, (seen, _) in SEEN.items()}
    else:
        missed = {name: (found[name], least) for name, (_, least) in SEEN.items()}
        assert all(least <= count <= least + 1 for count, least in missed.values()), missed


def test_what_is_no_face_in_real_photos() -> None:
    finder = detector("yunet", 32)
    for number in (3, 4, 7, 11, 12, 14):  # Bridge, boats, flowers, a butterfly, peppers, zebras.
        path = shared_data() / "bench" / "Set14" / f"img_{number:03d}_SRF_4_HR.png"
        assert finder.find(np.asarray(Image.open(path).convert("RGB"))) == [], path.name


def test_a_crowd_gives_every_face_that_is_large_enough() -> None:
    crowd = photo("ultralight_17.jpg")
    used, reasons = [], set()
    for face in detector("yunet", 64).find(crowd):
        try:
            used.append(align_face(crowd, face, FaceConfig(), 64).side)
        except ImageRejectedError as error:
            reasons.add(error.reason)
    assert 40 <= len(used) <= 50
    assert min(used) >= 64
    assert reasons == {"small_face", "no_face"}


def test_both_files_of_yunet_see_the_same() -> None:
    people = photo("facenetpytorch_multiface.jpg")
    found = [
        open_detector("yunet", yunet_file(name).read_bytes(), FaceConfig(), 64).find(people)
        for name in ("yunet_n_dynamic.onnx", "yunet_n_320_320.onnx")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_min_score_is_the_least_score() -> None:
    people = photo("ultralight_12.jpg")
    scores = [face.score for face in detector("yunet", 64).find(people)]
    strict = detector("yunet", 64, FaceConfig(min_score=0.93)).find(people)
    assert len(scores) == 5
    assert 0 < len(strict) < 5
    assert all(face.score >= 0.93 for face in strict)


HASHES = """
import hashlib, sys
from srgan.faces import align_face
from srgan.images import ImageRejectedError
from srgan.dataset_config import FaceConfig
from tests.srgan.faces.people import detector, photo
for name in ("facenetpytorch_multiface.jpg", "dlib_2008_007676.jpg", "ultralight_16.jpg"):
    pixels = photo(name)
    for face in detector("yunet", 48).find(pixels):
        crop = align_face(pixels, face, FaceConfig(), 48).pixels
        print(hashlib.sha256(crop.tobytes()).hexdigest(), face)
"""


def test_the_same_faces_on_another_processor() -> None:
    """OpenCV has other code for each instruction set; sums then differ in the last digits."""
    yunet_file()
    outputs = []
    for disabled in ("", "AVX2,FP16,AVX"):
        environment = dict(os.environ, OPENCV_CPU_DISABLE=disabled, PYTHONPATH=str(ROOT))
        outputs.append(
            subprocess.run(
                [sys.executable, "-c", HASHES],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) > 20


def test_opencv_runs_in_one_thread_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    import cv2

    crops(group_photo(1, 2), "yunet", 64)
    assert cv2.getNumThreads() == 1
    assert capfd.readouterr() == ("", "")


def test_the_same_photo_gives_the_same_bytes() -> None:
    def digest(people: Pixels) -> str:
        return hashlib.sha256(b"".join(c.tobytes() for c in crops(people, "dlib", 48))).hexdigest()

    first = digest(group_photo(2, 3))
    crops(group_photo(1, 2), "dlib", 48)
    assert digest(group_photo(2, 3)) == first


@pytest.mark.parametrize(("kind", "module"), [("yunet", "cv2"), ("dlib", "dlib")])
def test_a_missing_package_is_named_with_the_fix(
    kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    model = b"" if kind == "yunet" else None
    with pytest.raises(ConfigError, match=r'pip install "srgan-faces\[faces\]"'):
        open_detector("yunet" if kind == "yunet" else "dlib", model, FaceConfig(), 64)


def test_detectors_are_imported_when_they_are_needed() -> None:
    code = "import sys, srgan.faces; print([m for m in ('cv2', 'dlib') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
