"""Every format and mode, orientation, transparency, greyness, draft decoding."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.images import DecodedImage, DecodeOptions, ImageRejectedError, Pixels, decode_image
from tests.support import shared_data

ANY = DecodeOptions(10**7)
MAGIC = b"\x89PNG\r\n\x1a\n"


def noise(height: int = 12, width: int = 20, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = 48, width: int = 80) -> Pixels:
    """Colours that lossy formats keep, different in each corner."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 / width, y * 255 / height, 255 - (x + y) * 255 / (width + height)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def encoded(image: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data: bytes, options: DecodeOptions = ANY) -> Pixels:
    return decode_image(data, options).pixels


def reason(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode_image(data, DecodeOptions(**{"max_pixels": 10**7, **options}))
    assert caught.value.detail
    return caught.value.reason


def off(found: Pixels, wanted: Pixels) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found.astype(int) - wanted).mean())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], extra: bytes = b""
) -> bytes:
    """A PNG by the specification, for the kinds that Pillow does not write."""
    head = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join([MAGIC, chunk(b"IHDR", head), extra, chunk(b"IDAT", body), chunk(b"IEND", b"")])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
        ("TIFF", {}),
        ("TIFF", {"big_tiff": True}),
        *(
            ("TIFF", {"compression": name})
            for name in (
                "tiff_lzw",
                "tiff_deflate",
                "tiff_adobe_deflate",
                "packbits",
                "lzma",
                "zstd",
            )
        ),
    ],
)
def test_lossless(kind: str, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(pixels_of(encoded(noise(), kind, **options)), noise())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}),
        ("JPEG", {"quality": 95, "keep_rgb": True}),
        ("WEBP", {"quality": 95}),
        ("AVIF", {"quality": 95}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
    ],
)
def test_lossy(kind: str, options: dict[str, Any]) -> None:
    assert off(pixels_of(encoded(smooth(), kind, **options)), smooth()) < 3


@pytest.mark.parametrize("transform", [0, 2])
def test_adobe_cmyk_jpeg(transform: int) -> None:
    """Inks inverted, as Photoshop writes them; ``transform`` 2 is YCCK."""
    rgb = smooth().astype(float)
    if transform == 0:
        planes = [*np.moveaxis(255 - rgb, -1, 0), np.zeros(rgb.shape[:2])]
    else:
        # Adobe's technical note 5116: the values of C, M, Y become RGB (255 - x), and that YCbCr.
        # They are inverted inks, so that this RGB is the inks. Pillow inverts what it writes.
        inks = 255 - rgb
        y = inks @ [0.299, 0.587, 0.114]
        cb = 128 + (inks[..., 2] - y) / 1.772
        cr = 128 + (inks[..., 0] - y) / 1.402
        planes = [255 - y, 255 - cb, 255 - cr, np.zeros_like(y)]
    stacked = np.rint(np.stack(planes, axis=-1)).clip(0, 255).astype(np.uint8)
    data = encoded(Image.fromarray(stacked, "CMYK"), "JPEG", quality=98, subsampling=0)
    place = data.index(b"Adobe") + 11
    data = data[:place] + bytes([transform]) + data[place + 1 :]
    assert off(pixels_of(data), smooth()) < 2


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes(bits: int, transparent: bool) -> None:
    count = 1 << bits
    palette = np.random.default_rng(1).integers(0, 256, (count, 3), dtype=np.uint8)
    index = np.arange(16 * 16).reshape(16, 16) % count
    packed = np.packbits(
        (index[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(16, -1), axis=-1
    )
    extra = chunk(b"PLTE", palette.tobytes())
    wanted = palette[index]
    if transparent:
        extra += chunk(b"tRNS", bytes([0, 128]))
        wanted[index == 0] = 255
        half = palette[1] * (128 / 255) + 127
        wanted[index == 1] = np.rint(half)
    found = pixels_of(png(16, 16, bits, 3, [row.tobytes() for row in packed], extra))
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_depths_and_their_transparent_level(bits: int) -> None:
    count = 1 << min(bits, 8)
    level = np.arange(256).reshape(16, 16) % count
    if bits == 16:
        level = level * 200 + 7
        rows = [row.astype(">u2").tobytes() for row in level]
    else:
        planes = (level[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)
        rows = [row.tobytes() for row in np.packbits(planes.reshape(16, -1), axis=-1)]
    wanted = np.rint(level / ((1 << bits) - 1) * 255)
    found = pixels_of(png(16, 16, bits, 0, rows))
    np.testing.assert_array_equal(found, np.dstack([wanted] * 3))
    clear = int(level[0, 1])
    wanted[level == clear] = 255
    extra = chunk(b"tRNS", struct.pack(">H", clear))
    found = pixels_of(png(16, 16, bits, 0, rows, extra))
    np.testing.assert_array_equal(found[..., 0], wanted)
    assert reason(png(16, 16, bits, 0, rows, extra), alpha="reject") == "alpha"


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour(channels: int) -> None:
    deep = np.random.default_rng(2).integers(0, 65536, (8, 8, channels)).astype(">u2")
    if channels == 4:
        deep[..., 3] = 65535
    rows = [row.tobytes() for row in deep]
    found = pixels_of(png(8, 8, 16, 2 if channels == 3 else 6, rows))
    wanted = deep[..., :3].astype(float) / 257
    assert np.abs(found - wanted).max() <= 1
    if channels == 3:
        red, green, blue = (int(v) for v in deep[0, 0])
        extra = chunk(b"tRNS", struct.pack(">3H", red, green, blue))
        assert pixels_of(png(8, 8, 16, 2, rows, extra))[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bit_tiff_colour() -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = np.random.default_rng(3).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="rgb")
    assert np.abs(pixels_of(buffer.getvalue()) - deep / 257).max() <= 1


def test_floats() -> None:
    unit = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    unit[0, 0] = np.nan
    found = pixels_of(encoded(Image.fromarray(unit), "TIFF"))[..., 0]
    np.testing.assert_array_equal(found, np.rint(np.nan_to_num(unit) * 255))


def test_interlaced_png() -> None:
    """Adam7 of a single pixel in each pass but the last needs no writer: 1x1 is pass one."""
    head = struct.pack(">LLBBBBB", 1, 1, 8, 2, 0, 0, 1)
    body = chunk(b"IDAT", zlib.compress(b"\0" + bytes([9, 99, 199])))
    data = MAGIC + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
    assert pixels_of(data).tolist() == [[[9, 99, 199]]]


def test_the_first_page_of_a_tiff() -> None:
    pages = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    options = DecodeOptions(10**6, animated="reject")
    np.testing.assert_array_equal(decode_image(data, options).pixels, noise())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations(kind: str) -> None:
    frames = [Image.fromarray(np.roll(smooth(), 20 * step, axis=1)) for step in range(3)]
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    still = encoded(frames[0], kind, **lossless)
    assert reason(data, animated="reject") == "animated"
    assert decode_image(still, DecodeOptions(10**6, animated="reject")).width == 80
    found = pixels_of(data)
    assert off(found, smooth()) < (0.1 if kind in ("PNG", "WEBP") else 8)


def test_what_a_phone_writes_beside_a_photo_is_no_animation() -> None:
    frames = [Image.fromarray(np.roll(smooth(), 20 * step, axis=1)) for step in range(2)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    options = DecodeOptions(10**6, animated="reject")
    assert off(decode_image(data, options).pixels, smooth()) < 3


_UNTURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@settings(deadline=None, max_examples=80)
@given(
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"]),
    kind=st.sampled_from(["PNG", "TIFF", "WEBP", "JPEG", "AVIF"]),
    size=st.tuples(st.integers(16, 40), st.integers(16, 40)),
)
def test_any_orientation_of_any_mode_is_seen_upright(
    orientation: int, mode: str, kind: str, size: tuple[int, int]
) -> None:
    if kind == "PNG" and mode == "CMYK":
        mode = "RGB"
    if kind in ("WEBP", "AVIF") and mode in ("1", "CMYK", "I;16", "P"):
        mode = "RGB"
    if kind == "JPEG" and mode in ("RGBA", "LA", "P", "I;16"):
        mode = "RGB"
    upright = smooth(*size)
    stored = Image.fromarray(np.ascontiguousarray(_UNTURNED[orientation](upright)))
    if mode == "P":
        stored = stored.quantize(64)
    elif mode == "I;16":
        stored = Image.fromarray(np.asarray(stored.convert("L")).astype(np.uint16) * 257)
    else:
        stored = (
            stored.convert(mode, dither=Image.Dither.NONE) if mode == "1" else stored.convert(mode)
        )
    exif = Image.Exif()
    exif[0x112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if kind in ("JPEG", "AVIF"):
        options = {"quality": 95}
    data = encoded(stored, kind, exif=exif, **options)
    found = decode_image(data, ANY)
    assert (found.width, found.height) == (upright.shape[1], upright.shape[0])
    wanted = np.asarray(Image.fromarray(upright).convert("L").convert("RGB"))
    if mode in ("RGB", "RGBA", "CMYK", "P"):
        wanted = upright
    if mode == "1":
        wanted = np.where(wanted > 127, 255, 0).astype(np.uint8)
    assert found.pixels.dtype == np.uint8
    assert off(found.pixels, wanted) < (12 if mode in ("P", "1") else 5)


def test_orientation_of_xmp_and_of_imagemagick() -> None:
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(noise(), 1)))
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    np.testing.assert_array_equal(
        pixels_of(encoded(turned, "WEBP", lossless=True, xmp=xmp)), noise()
    )
    exif = Image.Exif()
    exif[0x112] = 6
    raw = exif.tobytes()
    text = b"Raw profile type exif\0\0" + zlib.compress(
        b"\nexif\n%8d\n" % len(raw) + raw.hex().encode() + b"\n"
    )
    data = encoded(turned, "PNG")
    data = data[:33] + chunk(b"zTXt", text) + data[33:]
    np.testing.assert_array_equal(pixels_of(data), noise())


def test_an_opaque_alpha_channel_is_no_reason() -> None:
    layer = np.dstack([noise(), np.full(noise().shape[:2], 255, np.uint8)])
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(layer, kind, **options)
        np.testing.assert_array_equal(
            pixels_of(data, DecodeOptions(10**6, alpha="reject")), noise()
        )
    layer[3, 3, 3] = 254
    assert reason(encoded(layer, "PNG"), alpha="reject") == "alpha"


def test_the_colour_below_transparent_pixels() -> None:
    layer = np.zeros((4, 4, 4), np.uint8)
    layer[..., 3] = [0, 51, 102, 255]
    found = pixels_of(encoded(layer, "PNG"), DecodeOptions(10**6, alpha="#ff8000"))
    assert found[0].tolist() == [[255, 128, 0], [204, 102, 0], [153, 77, 0], [0, 0, 0]]


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGB", "P"])
def test_grey_images(mode: str) -> None:
    image = Image.fromarray(smooth()).convert("L")
    data = encoded(image.convert(mode) if mode != "P" else image.convert("RGB").quantize(64), "PNG")
    assert reason(data, grey="reject") == "grey"
    assert decode_image(data, ANY).pixels.shape == (48, 80, 3)


def test_grey_is_what_nobody_sees_a_colour_in() -> None:
    grey = np.asarray(Image.fromarray(noise(64, 64)).convert("L").convert("RGB"))
    for quality in (30, 75, 95):
        assert reason(encoded(grey, "JPEG", quality=quality), grey="reject") == "grey"
    one = grey.copy()
    one[17, 23] = (200, 100, 50)
    accepted = decode_image(encoded(one, "PNG"), DecodeOptions(10**6, grey="reject"))
    np.testing.assert_array_equal(accepted.pixels, one)
    sepia = (grey * [1.0, 0.9, 0.7]).astype(np.uint8)
    assert decode_image(encoded(sepia, "JPEG"), DecodeOptions(10**6, grey="reject")).width == 64


def test_colours_that_are_not_seen_are_none() -> None:
    layer = np.dstack([np.full((8, 8, 3), 77, np.uint8), np.full((8, 8), 255, np.uint8)])
    layer[0, 0] = (255, 0, 0, 0)
    assert reason(encoded(layer, "PNG"), grey="reject", alpha="#000000") == "grey"


def test_limits_are_compared_with_the_upright_file() -> None:
    data = encoded(noise(12, 60), "PNG")
    assert reason(data, max_pixels=719) == "too_many_pixels"
    assert reason(data, max_aspect=4.9) == "aspect"
    assert reason(data, min_size=13) == "too_small"
    decode_image(data, DecodeOptions(720, max_aspect=5.0, min_size=12))


def test_options_of_a_dataset() -> None:
    config = DatasetConfig(
        max_pixels=1000, max_aspect=3, min_size=7, alpha="reject", grey="reject", animated="reject"
    )
    assert DecodeOptions.of(config) == DecodeOptions(1000, 3, 7, "reject", "reject", "reject")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    ("least", "factor"), [(None, 1), (151, 1), (150, 2), (76, 2), (75, 4), (38, 4), (37, 8), (1, 8)]
)
def test_draft(mode: str, least: int | None, factor: int) -> None:
    """The shorter side, 301 pixels, stays at ``least`` or more."""
    image = Image.fromarray(smooth(403, 301)).convert(mode)
    exif = Image.Exif()
    exif[0x112] = 6
    data = encoded(image, "JPEG", quality=95, exif=exif)
    found = decode_image(data, ANY, least=least)
    assert (found.width, found.height, found.reduced) == (403, 301, factor)
    assert found.pixels.shape == (301 // factor, 403 // factor, 3)
    whole = Image.fromarray(decode_image(data, ANY).pixels)
    # EXIF turns the file by 90 degrees: what is cut off is at the left.
    width, height = 403 // factor * factor, 301 // factor * factor
    box = (403 - width, 0, 403, height)
    wanted = np.asarray(whole.reduce(factor, box)) if factor > 1 else np.asarray(whole)
    assert off(found.pixels, wanted) < 1


def test_only_jpeg_shrinks() -> None:
    for kind in ("PNG", "WEBP", "TIFF"):
        found = decode_image(encoded(noise(64, 64), kind), ANY, least=8)
        assert (found.reduced, found.pixels.shape) == (1, (64, 64, 3))


def test_images_smaller_than_asked_for_are_not_shrunk() -> None:
    found = decode_image(encoded(noise(9, 9), "JPEG"), ANY, least=100)
    assert isinstance(found, DecodedImage)
    assert found.reduced == 1


@pytest.mark.parametrize(("factor", "median", "worst"), [(2, 46, 42), (4, 44, 40), (8, 42, 38)])
def test_the_draft_of_a_photo_is_hardly_visible_after_the_resize(
    factor: int, median: float, worst: float
) -> None:
    photos = sorted((shared_data() / "photos").glob("*.jpg"))
    decibels = []
    for photo in photos:
        data = photo.read_bytes()
        whole = decode_image(data, ANY)
        shorter = min(whole.width, whole.height) // factor
        side = int(shorter / images.DRAFT_GAP)
        if side < 32:
            continue
        draft = decode_image(data, ANY, least=round(images.DRAFT_GAP * side))
        assert draft.reduced == factor
        # The same part of the photo from both.
        left = (draft.pixels.shape[1] - shorter) // 2
        top = (draft.pixels.shape[0] - shorter) // 2
        box = np.array([left, top, left + shorter, top + shorter])
        hr, wanted = (
            np.asarray(
                Image.fromarray(pixels)
                .crop(tuple(box * times))
                .resize((side, side), Image.Resampling.BICUBIC)
            ).astype(float)
            for pixels, times in ((draft.pixels, 1), (whole.pixels, factor))
        )
        decibels.append(10 * np.log10(255**2 / ((hr - wanted) ** 2).mean()))
    assert len(decibels) >= 5
    # In decibels; the resize of all pixels by Lanczos differs from that by bicubic by 39 to 45.
    assert np.median(decibels) > median
    assert min(decibels) > worst


def test_pixels_of_real_photos_are_those_of_pillow() -> None:
    """Photos without a profile or transparency: what is cut from a file changes no pixel."""
    files = sorted((shared_data() / "photos").iterdir())
    compared = 0
    for path in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path)
            if (
                image.mode != "RGB"
                or "icc_profile" in image.info
                or image.getexif().get(0x112, 1) > 1
            ):
                continue
            wanted = np.asarray(image)
        np.testing.assert_array_equal(pixels_of(path.read_bytes()), wanted)
        compared += 1
    assert compared > 10
