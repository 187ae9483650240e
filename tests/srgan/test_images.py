from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan import images
from srgan.images import ImageRejectedError, Pixels, decode

LIMIT = 10**6


def scene(width: int = 24, height: int = 16) -> Pixels:
    """Four corners of four colours, so that every turn shows; uint8 [height, width, 3]."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 250, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 250)
    pixels[height // 2 :, width // 2 :] = (240, 240, 240)
    return pixels


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data: bytes, max_pixels: int = LIMIT) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, max_pixels=max_pixels)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000"])
def test_lossless_formats(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(scene()), kind, **options)
    np.testing.assert_array_equal(decode(data, max_pixels=LIMIT), scene())


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_lossy_formats(kind: str) -> None:
    found = decode(encoded(Image.fromarray(scene(64, 48)), kind, quality=95), max_pixels=LIMIT)
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - scene(64, 48)).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    """What a camera stores for ``orientation`` is shown upright again."""
    upright = scene()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x112] = orientation
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        image = Image.fromarray(np.ascontiguousarray(stored))
        data = encoded(image, kind, exif=exif.tobytes(), **options)
        np.testing.assert_array_equal(decode(data, max_pixels=LIMIT), upright)


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01"],
)
def test_damaged_exif_does_not_cost_the_picture(exif: bytes) -> None:
    data = encoded(Image.fromarray(scene(32, 32)), "JPEG", exif=exif)
    assert decode(data, max_pixels=LIMIT).shape == (32, 32, 3)


def test_cmyk() -> None:
    data = encoded(Image.fromarray(scene(64, 64)).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(decode(data, max_pixels=LIMIT).astype(int) - scene(64, 64)).mean() < 8


def test_palette() -> None:
    data = encoded(Image.fromarray(scene()).quantize(16))
    np.testing.assert_array_equal(decode(data, max_pixels=LIMIT), scene())


def test_transparency_lies_on_white() -> None:
    layer = np.dstack([scene(), np.full((16, 24), 255, np.uint8)])
    layer[0, 0, 3] = 0
    layer[0, 1, 3] = 51
    found = decode(encoded(Image.fromarray(layer)), max_pixels=LIMIT)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [254, 208, 208]
    np.testing.assert_array_equal(found[1:], scene()[1:])


def test_transparent_colour_of_a_palette() -> None:
    image = Image.fromarray(scene()).quantize(16)
    index = image.getpixel((0, 0))
    found = decode(encoded(image, transparency=index), max_pixels=LIMIT)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, -1].tolist() == [20, 250, 20]


def test_grey_and_one_bit() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = decode(encoded(Image.fromarray(grey)), max_pixels=LIMIT)
    np.testing.assert_array_equal(found, np.dstack([grey] * 3))
    bits = decode(encoded(Image.fromarray(grey > 127)), max_pixels=LIMIT)
    assert set(np.unique(bits)) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [65535, 200])
def test_sixteen_bit_grey_keeps_its_levels(kind: str, top: int) -> None:
    deep = np.linspace(0, top, 256).round().astype(np.uint16).reshape(16, 16)
    found = decode(encoded(Image.fromarray(deep), kind), max_pixels=LIMIT)
    np.testing.assert_array_equal(found[..., 0], np.rint(deep / 65535 * 255))


def test_not_an_image() -> None:
    assert reason(b"") == "not_an_image"
    assert reason(b"just some text") == "not_an_image"
    assert reason(b"\0\0\0\1Bud1" + b"\0" * 500) == "not_an_image"


def test_documents_are_no_images() -> None:
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image"
    assert reason(b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {1};") == (
        "not_an_image"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_files_that_end_early_are_corrupt(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    assert reason(data[: len(data) * 2 // 3]) in ("corrupt", "not_an_image")


def test_flipped_bits_never_escape_as_other_errors() -> None:
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
        good = encoded(Image.fromarray(scene(48, 48)), kind)
        for _ in range(40):
            bad = bytearray(good)
            for position in rng.integers(0, len(bad), 4):
                bad[position] ^= int(rng.integers(1, 256))
            with suppress(ImageRejectedError):
                assert decode(bytes(bad), max_pixels=LIMIT).dtype == np.uint8


def test_a_bomb_is_rejected_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    )
    assert reason(data) == "too_many_pixels"


def test_the_limit_itself_is_allowed() -> None:
    data = encoded(Image.fromarray(scene(10, 10)))
    assert decode(data, max_pixels=100).shape == (10, 10, 3)
    assert reason(data, max_pixels=99) == "too_many_pixels"


def test_centre_square() -> None:
    pixels = scene(25, 16)
    np.testing.assert_array_equal(images.centre_square(pixels), pixels[:, 4:20])
    np.testing.assert_array_equal(images.centre_square(pixels, 10), pixels[3:13, 7:17])
    with pytest.raises(ImageRejectedError, match="25x16 pixels, the crop needs 17"):
        images.centre_square(pixels, 17)


def test_png_is_lossless_and_stable() -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    data = images.encode_png(pixels)
    assert data == images.encode_png(pixels.copy())
    np.testing.assert_array_equal(decode(data, max_pixels=LIMIT), pixels)


def test_to_uint8_rounds_and_clips() -> None:
    values = np.array([-1.0, 0.0, 0.9 / 255, 127.6 / 255, 1.0, 7.0])
    assert images.to_uint8(values).tolist() == [0, 0, 1, 128, 255, 255]
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(images.to_uint8(images.to_unit(levels)), levels)
