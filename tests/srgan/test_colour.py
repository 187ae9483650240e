from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from srgan.colour import to_srgb
from srgan.images import DecodeOptions, Pixels, decode_image
from tests.srgan.icc import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    Floats,
    cmyk_profile,
    grey_profile,
    lab_to_srgb,
    rgb_profile,
    srgb_encoded,
    srgb_linear,
    to_xyz,
)

ANY = DecodeOptions(10**6)
P3 = rgb_profile(DISPLAY_P3)
ADOBE = rgb_profile(ADOBE_RGB, 563 / 256)
INKS = {
    (c, m, y, k): (
        (95.0, 0.0, 0.0) if not (c or m or y or k)
        else (55.0, -35.0, -50.0) if (c, m, y, k) == (1, 0, 0, 0)
        else (50.0, 72.0, -5.0) if (c, m, y, k) == (0, 1, 0, 0)
        else (88.0, -6.0, 90.0) if (c, m, y, k) == (0, 0, 1, 0)
        else (0.0, 0.0, 0.0)
    )
    for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)
}  # fmt: skip


def colours(count: int = 500) -> Pixels:
    """uint8 [count, 1, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(pixels: Pixels, kind: str, **options: Any) -> Pixels:
    return decode_image(encoded(Image.fromarray(pixels), kind, **options), ANY).pixels


def expected(levels: Pixels, primaries: Any, gamma: float | None) -> tuple[Floats, NDArrayBool]:
    """sRGB levels by the book, and which colours sRGB has at all."""
    unit = levels.astype(float) / 255
    linear = srgb_linear(levels.astype(float)) if gamma is None else unit**gamma
    matrix = np.linalg.solve(to_xyz(SRGB), to_xyz(primaries))
    found = linear @ matrix.T
    return srgb_encoded(found), ((found >= 0) & (found <= 1)).all(axis=-1)


NDArrayBool = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@pytest.mark.parametrize(
    ("profile", "primaries", "gamma"), [(P3, DISPLAY_P3, None), (ADOBE, ADOBE_RGB, 563 / 256)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_wide_gamuts(kind: str, profile: bytes, primaries: Any, gamma: float | None) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    levels = colours()
    found = decoded(levels, kind, icc_profile=profile, **options)
    wanted, inside = expected(levels, primaries, gamma)
    off = np.abs(found - wanted)[inside]
    assert len(off) > 200
    # littlecms converts eight bits in fixed point; the steepest part of the curve is in the dark.
    assert off.mean() < 0.5
    assert off.max() < 3


def test_published_values() -> None:
    """sRGB's red and green in other spaces, as tables of them have it."""
    for profile, red, green in (
        (P3, (234, 51, 35), (117, 251, 76)),
        (ADOBE, (219, 0, 0), (144, 255, 60)),
    ):
        found = decoded(np.array([[red, green]], np.uint8), "PNG", icc_profile=profile)
        assert np.abs(found[0, 0].astype(int) - (255, 0, 0)).max() <= 6
        assert np.abs(found[0, 1].astype(int) - (0, 255, 0)).max() <= 6


def test_jpeg_with_a_wide_gamut() -> None:
    levels = np.full((32, 32, 3), (180, 90, 60), np.uint8)
    found = decoded(levels, "JPEG", quality=98, icc_profile=P3)
    wanted, _ = expected(levels[:1, :1], DISPLAY_P3, None)
    assert np.abs(found.reshape(-1, 3).mean(axis=0) - wanted[0, 0]).max() < 2.5


def test_a_profile_in_many_segments() -> None:
    """Longer than the 64 KiB that a segment of JPEG holds."""
    long = P3 + bytes(150_000)
    long = len(long).to_bytes(4, "big") + long[4:]
    levels = np.full((16, 16, 3), (180, 90, 60), np.uint8)
    short = decoded(levels, "JPEG", icc_profile=P3)
    np.testing.assert_array_equal(decoded(levels, "JPEG", icc_profile=long), short)
    assert (short != decoded(levels, "JPEG")).any()


@pytest.mark.parametrize(
    "profile",
    [
        rgb_profile(SRGB),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
)
def test_srgb_profiles_leave_pixels_alone(profile: bytes) -> None:
    image = Image.fromarray(colours())
    assert to_srgb(image, profile) is image


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"nothing of the kind",
        P3[:100],
        P3[:200],
        P3[:36] + b"????" + P3[40:],
        P3[:12] + b"link" + P3[16:],
        grey_profile(1.8),
        cmyk_profile(INKS),
        P3 + bytes(5 * 2**20),
    ],
)
def test_unusable_profiles_are_ignored(profile: bytes) -> None:
    np.testing.assert_array_equal(decoded(colours(), "TIFF", icc_profile=profile), colours())


@settings(deadline=None, max_examples=60)
@given(data=st.data(), base=st.sampled_from([P3, grey_profile(1.8), cmyk_profile(INKS)]))
def test_damaged_profiles_never_cost_the_image(data: st.DataObject, base: bytes) -> None:
    profile = bytearray(base)
    for place in data.draw(st.lists(st.integers(0, len(base) - 1), min_size=1, max_size=8)):
        profile[place] = data.draw(st.integers(0, 255))
    for mode in ("RGB", "L", "CMYK"):
        image = Image.fromarray(colours(20)).convert(mode)
        found = to_srgb(image, bytes(profile))
        assert (found.mode, found.size) == ("RGB", image.size)


def test_a_grey_profile() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = decoded(levels, "PNG", icc_profile=grey_profile(1.8))
    wanted = srgb_encoded((levels / 255) ** (461 / 256))
    assert np.abs(found[..., 1] - wanted).max() < 1.5
    np.testing.assert_array_equal(found, found[..., :1].repeat(3, axis=-1))


def test_grey_with_the_profile_of_a_colour_space() -> None:
    """What cameras and editors write: grey pixels, and the profile that the photo once had."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = decoded(levels, "PNG", icc_profile=rgb_profile(ADOBE_RGB, 1.8))
    wanted = srgb_encoded((levels / 255) ** (461 / 256))
    assert np.abs(found - wanted[..., None]).max() < 2


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk(kind: str) -> None:
    profile = cmyk_profile(INKS)
    for inks, lab in INKS.items():
        if sum(inks) > 1:
            continue
        solid = np.full((16, 16, 4), np.array(inks) * 255, np.uint8)
        image = Image.fromarray(solid, "CMYK")
        found = decode_image(encoded(image, kind, icc_profile=profile), ANY).pixels
        # The paper is white, not grey: relative colorimetric. The table has eight bits.
        wanted = np.full(3, 255) if not any(inks) else lab_to_srgb(lab)
        limit = 3 if inks in ((0, 0, 0, 0), (0, 0, 0, 1)) else 14
        assert np.abs(found.reshape(-1, 3).mean(axis=0) - wanted).max() < limit, inks


def test_printed_black_is_black() -> None:
    """The darkest ink of this printer is a dark grey, L* = 18, and an image of it is black."""
    corners = {inks: (95.0 - 77.0 * max(inks), 0.0, 0.0) for inks in INKS}
    image = Image.new("CMYK", (4, 4), (0, 0, 0, 255))
    data = encoded(image, "TIFF", icc_profile=cmyk_profile(corners))
    assert decode_image(data, ANY).pixels.max() <= 4


def test_cmyk_without_a_profile() -> None:
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    assert decode_image(encoded(image, "TIFF"), ANY).pixels[0, 0].tolist() == [0, 255, 255]


def test_lab() -> None:
    for lab in ((50.0, 0.0, 0.0), (60.0, 40.0, 30.0), (70.0, -30.0, -20.0)):
        values = (round(lab[0] * 2.55), round(lab[1]) & 255, round(lab[2]) & 255)
        pixels = np.full((8, 8, 3), values, np.uint8)
        image = Image.frombytes("LAB", (8, 8), pixels.tobytes())
        found = decode_image(encoded(image, "TIFF"), ANY).pixels[0, 0]
        assert np.abs(found - lab_to_srgb(lab)).max() < 4


def test_transparency_is_composited_after_the_conversion() -> None:
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[:2] = (180, 90, 60, 255)
    options = DecodeOptions(10**6, alpha="#b45a3c")
    data = encoded(Image.fromarray(layer), "PNG", icc_profile=P3)
    found = decode_image(data, options).pixels
    wanted, _ = expected(layer[:1, :1, :3], DISPLAY_P3, None)
    assert np.abs(found[0, 0] - wanted[0, 0]).max() < 2
    # The colour below is given in sRGB.
    assert found[-1, 0].tolist() == [0xB4, 0x5A, 0x3C]


def test_the_same_profile_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = rgb_profile(DISPLAY_P3, 2.0)
    built = []
    real = ImageCms.buildTransform
    monkeypatch.setattr(
        ImageCms, "buildTransform", lambda *args, **more: built.append(1) or real(*args, **more)
    )
    for _ in range(5):
        decoded(colours(), "PNG", icc_profile=profile)
    assert len(built) == 1
