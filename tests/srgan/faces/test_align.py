from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.dataset_config import FaceConfig
from srgan.faces import Face, align_face
from srgan.images import ImageRejectedError, Pixels, resize
from tests.srgan.faces.people import decibels, drawn, face_at

FFHQ = FaceConfig()


def spot(pixels: Pixels, channel: int) -> tuple[float, float]:
    """Centre of mass of a channel's light, in shares of the image's side."""
    light = pixels[..., channel].astype(np.float64)
    light = np.where(light > 40, light, 0)
    y, x = np.mgrid[: len(light), : len(light)] + 0.5
    total = light.sum() * len(light)
    return float((x * light).sum() / total), float((y * light).sum() / total)


def with_marks(face: Face, width: int = 400, height: int = 400) -> Pixels:
    """Left eye red, right eye green, mouth blue, on black."""
    radius = math.dist(face.left_eye, face.right_eye) / 10

    def mark(x: Any, y: Any, at: tuple[float, float]) -> Any:
        return 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / radius**2)

    places = (face.left_eye, face.right_eye, face.mouth)
    return drawn(width, height, lambda x, y: [mark(x, y, at) for at in places])


def waves(phase: float, roll: float, centre: int = 320) -> Any:
    """A smooth pattern turned by ``roll`` degrees around a point."""
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))

    def colour(x: Any, y: Any) -> list[Any]:
        u, v = c * (x - centre) + s * (y - centre), c * (y - centre) - s * (x - centre)
        return [
            128 + 60 * np.sin(u / 9 + phase) + 50 * np.cos(v / 7),
            128 + 60 * np.sin(v / 11 - phase) + 50 * np.cos((u + v) / 13),
            128 + 100 * np.cos(u / 8) * np.sin(v / 15 + phase),
        ]

    return colour


@settings(deadline=None, max_examples=30)
@given(
    x=st.floats(190, 210),
    y=st.floats(190, 210),
    apart=st.floats(25, 32),
    roll=st.floats(-180, 180),
    hr_size=st.sampled_from([64, 80, 96]),
)
def test_eyes_are_level_and_where_ffhq_has_them(
    x: float, y: float, apart: float, roll: float, hr_size: int
) -> None:
    face = face_at(x, y, apart=apart, roll=roll)
    aligned = align_face(with_marks(face), face, FFHQ, hr_size)
    left, right, mouth = (spot(aligned.pixels, channel) for channel in range(3))
    # Below two degrees heads stay as they are.
    level = 0.02 if abs(math.sin(math.radians(roll))) > 0.035 else 0.03
    assert aligned.side == pytest.approx(4 * apart, abs=1)
    assert left == pytest.approx((0.375, 0.475), abs=level)
    assert right == pytest.approx((0.625, 0.475), abs=level)
    assert mouth == pytest.approx((0.5, 0.725), abs=level)


@settings(deadline=None, max_examples=25)
@given(roll=st.floats(-180, 180), phase=st.floats(0, 6), apart=st.floats(33, 45))
def test_a_turned_photo_gives_the_same_portrait(roll: float, phase: float, apart: float) -> None:
    upright, leaning = (drawn(400, 400, waves(phase, angle, 200)) for angle in (0.0, roll))
    first = align_face(upright, face_at(200, 200, apart=apart), FFHQ, 128)
    second = align_face(leaning, face_at(200, 200, apart=apart, roll=roll), FFHQ, 128)
    # An upright crop begins at a whole pixel, which is half a pixel away at most.
    shift = 0.7 if abs(math.sin(math.radians(roll))) > 0.035 else 3.5
    assert np.abs(first.pixels.astype(float) - second.pixels).mean() < 6 * shift
    assert first.side == pytest.approx(second.side, abs=1)


def test_an_upright_face_is_cut_and_reduced_and_no_more() -> None:
    photo = drawn(640, 640, waves(1.0, 0.0))
    face = face_at(320, 320, apart=40)  # Centre (320, 324), side 160.
    cut = photo[244:404, 240:400]
    assert np.array_equal(align_face(photo, face, FFHQ, 160).pixels, cut)
    assert np.array_equal(align_face(photo, face, FFHQ, 96).pixels, resize(cut, 96, 96))


@pytest.mark.parametrize("roll", [0.0, 1.9])
def test_a_roll_that_nobody_sees_is_left(roll: float) -> None:
    photo = drawn(640, 640, waves(1.0, 0.0))
    straight = align_face(photo, face_at(320, 320, apart=40), FFHQ, 160).pixels
    tilted = align_face(photo, face_at(320, 320, apart=40, roll=roll), FFHQ, 160).pixels
    # At most moved by a pixel, never interpolated.
    assert any(
        np.array_equal(straight[2:-2, 2:-2], tilted[2 + dy : 158 + dy, 2 + dx : 158 + dx])
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
    )


@pytest.mark.parametrize("roll", [0.0, 10.0, 45.0, 170.0])
def test_detail_finer_than_the_portrait_vanishes_without_moire(roll: float) -> None:
    photo = drawn(900, 900, lambda x, y: [255 * ((np.floor(x) + np.floor(y)) % 2)] * 3)
    aligned = align_face(photo, face_at(450, 450, apart=130, roll=roll), FFHQ, 128)
    assert aligned.pixels.std() < 3
    assert abs(aligned.pixels.mean() - 127.5) < 2


def test_turning_keeps_most_of_the_finest_detail() -> None:
    rng = np.random.default_rng(3)
    # Noise of two pixels: half of what the portrait can hold.
    noise = rng.integers(0, 256, (320, 320, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    photo = resize(np.ascontiguousarray(noise), 640, 640)
    straight = align_face(photo, face_at(320, 320, apart=33), FFHQ, 128).pixels.std()
    leaning = align_face(photo, face_at(320, 320, apart=33, roll=20), FFHQ, 128).pixels.std()
    assert leaning > 0.85 * straight


@settings(deadline=None, max_examples=100)
@given(
    x=st.floats(0.1, 0.9),
    y=st.floats(0.1, 0.9),
    apart=st.floats(15, 35),
    roll=st.floats(-60, 60),
    width=st.integers(100, 255),
    height=st.integers(100, 255),
    margin=st.sampled_from([0.0, 0.2, 0.4, 1.0]),
)
def test_no_pixel_is_made_up_and_none_enlarged(
    x: float, y: float, apart: float, roll: float, width: int, height: int, margin: float
) -> None:
    """Red says x and green says y: a portrait of real pixels alone is a plane in both."""
    photo = drawn(width, height, lambda x, y: [x, y, 0 * x])
    face = face_at(x * width, y * height, apart=apart, roll=roll)
    try:
        aligned = align_face(photo, face, FaceConfig(margin=margin), 32)
    except ImageRejectedError as error:
        assert error.reason in ("no_face", "small_face")  # noqa: PT017 - either is right
        return
    assert aligned.pixels.shape == (32, 32, 3)
    assert aligned.side >= 32
    v, u = np.mgrid[:32, :32]
    plane = np.stack([u.ravel(), v.ravel(), np.ones(1024)], 1)
    for channel in (0, 1):
        values = aligned.pixels[..., channel].ravel().astype(float)
        fit, *_ = np.linalg.lstsq(plane, values, rcond=None)
        assert np.abs(plane @ fit - values).max() < 2.5
        # A step in the portrait is a step of side / 32 in the photo.
    assert math.hypot(fit[0], fit[1]) == pytest.approx(aligned.side / 32, rel=0.1)


def test_small_faces_are_rejected_with_both_sizes() -> None:
    photo = drawn(640, 640, waves(0.0, 0.0))
    face = face_at(320, 320, apart=31)
    with pytest.raises(ImageRejectedError, match=r"small_face: 124 px .* the crop needs 128"):
        align_face(photo, face, FFHQ, 128)
    with pytest.raises(ImageRejectedError, match=r"small_face: 124 px .* the crop needs 200"):
        align_face(photo, face, FaceConfig(min_size=200), 64)
    assert align_face(photo, face, FaceConfig(margin=0.5), 128).side == pytest.approx(136, abs=1)


def test_at_the_edge_the_portrait_moves_inwards() -> None:
    photo = drawn(640, 640, waves(0.0, 0.0))
    aligned = align_face(photo, face_at(50, 50, apart=40), FFHQ, 160)
    assert np.array_equal(aligned.pixels, photo[:160, :160])
    corner = align_face(photo, face_at(598, 598, apart=40), FFHQ, 160)
    assert np.array_equal(corner.pixels, photo[480:, 480:])


def test_a_photo_that_the_face_fills_is_taken_whole() -> None:
    photo = drawn(200, 210, lambda x, y: [x, y, x])
    aligned = align_face(photo, face_at(100, 95, apart=70), FFHQ, 100)
    assert aligned.side == 200
    assert np.array_equal(aligned.pixels, resize(photo[2:202], 100, 100)) or np.array_equal(
        aligned.pixels, resize(photo[:200], 100, 100)
    )


def test_where_the_photo_is_too_small_to_turn_the_head_leans() -> None:
    photo = drawn(200, 200, lambda x, y: [x, y, x])
    leaning = align_face(photo, face_at(100, 90, apart=70, roll=30), FFHQ, 100)
    assert leaning.side == 200
    # With less of a margin it can be turned.
    turned = align_face(photo, face_at(100, 95, apart=42, roll=30), FFHQ, 100)
    assert 1.4 * 42 * 4 / 1.8 < turned.side < 168
    with pytest.raises(ImageRejectedError, match=r"small_face: at the edge of a photo of 200x200"):
        align_face(photo, face_at(100, 100, apart=70, roll=80), FFHQ, 100)


@pytest.mark.parametrize(("x", "y"), [(5, 300), (635, 300), (300, 3), (300, 605)])
def test_a_face_that_the_edge_cuts_off_is_none(x: float, y: float) -> None:
    photo = drawn(640, 640, waves(0.0, 0.0))
    with pytest.raises(ImageRejectedError, match="no_face: the photo's edge cuts it off"):
        align_face(photo, face_at(x, y, apart=40), FFHQ, 64)


def test_a_face_from_the_side_is_framed_by_its_height_and_levelled_by_it() -> None:
    photo = drawn(640, 640, waves(0.0, 0.0))
    frontal = align_face(photo, face_at(320, 320, apart=44, down=44), FFHQ, 64)
    # The eyes fall together, and their line leans by chance.
    profile = Face((318, 318), (322, 322), (320, 364), (290, 290, 60, 100), 0.9)
    aligned = align_face(photo, profile, FFHQ, 64)
    assert aligned.side == pytest.approx(0.9 * frontal.side, rel=0.02)
    assert decibels(aligned.pixels, resize(photo[245:403, 241:399], 64, 64)) > 25
