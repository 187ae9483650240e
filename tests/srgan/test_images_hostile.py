"""Files made to hurt or damaged: what they cost is bounded, and what they raise is one error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan.images import (
    DecodeOptions,
    ImageRejectedError,
    decode_image,
    open_checked,
)
from tests.support import ROOT

LIMIT = 4_000_000
STRICT = DecodeOptions(LIMIT, alpha="reject", grey="reject", animated="reject")
_MIB = 2**20


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    y, x = np.mgrid[:24, :32]
    pixels = np.stack([x * 8, y * 10, 255 - x * 4], axis=-1).astype(np.uint8)
    pixels[:4] = np.random.default_rng(0).integers(0, 256, (4, 32, 3))
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(Image.fromarray(pixels[..., 0]))
    else:
        image = image.convert(mode)
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90), image.rotate(180)]
    exif = Image.Exif()
    exif[0x112] = 6
    exif[0x10F] = "A camera"
    # Pillow 12.3 crashes where it writes EXIF to an AVIF sequence.
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") or (kind == "AVIF" and not options):
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


SAMPLES: dict[str, bytes] = {
    "jpeg": encoded("JPEG"),
    "progressive jpeg": encoded("JPEG", progressive=True),
    "cmyk jpeg": encoded("JPEG", "CMYK"),
    "grey jpeg": encoded("JPEG", "L"),
    "png": encoded("PNG"),
    "palette png": encoded("PNG", "P", transparency=3),
    "png with alpha": encoded("PNG", "RGBA"),
    "deep png": encoded("PNG", "I;16"),
    "animated png": encoded("PNG", save_all=True),
    "webp": encoded("WEBP", "RGBA"),
    "lossless webp": encoded("WEBP", lossless=True),
    "animated webp": encoded("WEBP", save_all=True),
    "gif": encoded("GIF"),
    "animated gif": encoded("GIF", save_all=True),
    **{
        f"{name} tiff": encoded("TIFF", compression=name)
        for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "lzma", "zstd")
    },
    "fax tiff": encoded("TIFF", "1", compression="group4"),
    "big tiff": encoded("TIFF", big_tiff=True),
    "deep tiff": encoded("TIFF", "I;16"),
    "bmp": encoded("BMP"),
    "ppm": encoded("PPM"),
    "jp2": encoded("JPEG2000"),
    "j2k": encoded("JPEG2000", no_jp2=True),
    "avif": encoded("AVIF"),
    "animated avif": encoded("AVIF", save_all=True),
}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample with bytes changed, cut, repeated or put in; most often near its start."""
    data = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.one_of(st.integers(0, 200), st.integers(0, 100_000))) % max(len(data), 1)
        count = draw(st.integers(1, 16))
        how = draw(st.sampled_from(["set", "number", "cut", "end", "repeat", "insert"]))
        if how == "set":
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "number":
            number = draw(st.sampled_from([0, 1, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**32 - 1]))
            order: Any = draw(st.sampled_from(["big", "little"]))
            data[place : place + 4] = number.to_bytes(4, order)
        elif how == "cut":
            del data[place : place + count]
        elif how == "end":
            del data[place:]
        elif how == "repeat":
            data[place:place] = data[place : place + count]
        else:
            data[place:place] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(data=mutated())
def test_damaged_files_are_decoded_or_rejected(data: bytes) -> None:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options, least in ((DecodeOptions(LIMIT), None), (STRICT, 8)):
            with suppress(ImageRejectedError):
                found = decode_image(data, options, least=least)
                height, width = found.pixels.shape[:2]
                assert found.pixels.shape == (height, width, 3)
                assert width * height <= LIMIT
        with suppress(ImageRejectedError):
            open_checked(data, max_pixels=LIMIT)
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples_are_images(name: str) -> None:
    """What the mutations start from is whole, and so is a file that starts like it."""
    decode_image(SAMPLES[name], DecodeOptions(LIMIT))
    assert 0 < len(SAMPLES[name]) < 100_000


@pytest.mark.parametrize("data", [b"", b"\xff", b"text", b"RIFF", b"\0" * 100, b"{}", b"<svg/>"])
def test_other_files(data: bytes) -> None:
    with pytest.raises(ImageRejectedError) as caught:
        decode_image(data, STRICT)
    assert caught.value.reason == "not_an_image"


def test_photos_of_a_phone_get_a_hint() -> None:
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageRejectedError, match="HEIC is not supported; convert it to JPEG"):
        decode_image(data, STRICT)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff writes to the C library's stderr, and Pillow's log of errors to Python's."""
    for name in ("fax tiff", "tiff_lzw tiff", "jpeg tiff", "zstd tiff", "raw tiff", "deep tiff"):
        data = SAMPLES[name]
        for place in range(0, len(data), 7):
            broken = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            with suppress(ImageRejectedError):
                decode_image(broken, STRICT)
            with suppress(ImageRejectedError):
                open_checked(broken, max_pixels=LIMIT)
    assert capfd.readouterr() == ("", "")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def _png(*chunks: bytes) -> bytes:
    """The sample with chunks between its header and its pixels."""
    data = SAMPLES["png"]
    return data[:33] + b"".join(chunks) + data[33:]


def _tiff_of_tags(count: int, size: int) -> bytes:
    """An image whose directory has ``count`` tags, all of the same ``size`` bytes of the file."""
    baseline = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 4), (279, 4, 1, 16),
    ]  # fmt: skip
    tags = baseline + [(40_000 + index % 20_000, 1, size, 8) for index in range(count)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", *t) for t in tags)
    return struct.pack("<2sHL", b"II", 42, 8 + size) + bytes(size) + directory + bytes(4)


def _jpeg_2000(channels: int, tile: int) -> bytes:
    sizes = (2000, 2000, 0, 0, tile, tile, 0, 0, channels)
    size = struct.pack(">HHH8LH", 0xFF51, 38 + 3 * channels, 0, *sizes)
    return b"\xff\x4f" + size + b"\x07\x01\x01" * channels + bytes(100)


def _scans() -> bytes:
    """A progressive JPEG of 4 megapixels that says the same 1,000 times."""
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    first = data.index(b"\xff\xda")
    scan = data[first : data.index(b"\xff", first + 2)]
    return data[:first] + scan * 1_000 + data[first:]


def _gif_comment() -> bytes:
    data = SAMPLES["gif"]
    place = 13 + (3 << (data[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + bytes(255)) * 40_000 + b"\0"
    return data[:place] + comment + data[place:]


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "108 megapixels of png": (
        lambda: b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">LLBBBBB", 12_000, 9_000, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(bytes(36_001 * 9_000), 9))
        + _chunk(b"IEND", b""),
        "too_many_pixels",
    ),
    "text of 64 MB": (
        lambda: _png(_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 * _MIB), 9))),
        "accepted",
    ),
    "profile of 64 MB": (
        lambda: _png(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(64 * _MIB), 9))),
        "accepted",
    ),
    "a million chunks": (lambda: _png(_chunk(b"prVt", b"") * 1_000_000), "corrupt"),
    "two million comments": (
        lambda: SAMPLES["jpeg"][:2] + b"\xff\xfe\0\2" * 2_000_000 + SAMPLES["jpeg"][2:],
        "corrupt",
    ),
    "16 MB of fill bytes": (
        lambda: SAMPLES["jpeg"][:2] + b"\xff" * (16 * _MIB) + SAMPLES["jpeg"][2:],
        "accepted",
    ),
    "16 MB of exif": (
        lambda: SAMPLES["jpeg"][:2]
        + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 250
        + SAMPLES["jpeg"][2:],
        "accepted",
    ),
    "1,000 scans": (_scans, "corrupt"),
    "4,000 tags of 8 MB": (lambda: _tiff_of_tags(4_000, 8 * _MIB), "accepted"),
    "60,000 tags": (lambda: _tiff_of_tags(60_000, 64), "corrupt"),
    "a canvas of 268 megapixels": (
        lambda: b"RIFF\x22\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\x3f\0\xff\x3f\0"
        + b"ANIM\x06\0\0\0" + bytes(6),
        "too_many_pixels",
    ),
    "10 MB of comment": (_gif_comment, "accepted"),
    "16,384 channels": (lambda: _jpeg_2000(16_384, 2000), "corrupt"),
    "4 million tiles": (lambda: _jpeg_2000(3, 1), "corrupt"),
    "8 MB of plain text": (lambda: b"P3 1000 1000 255\n" + b"1 " * 4_000_000, "too_many_bytes"),
}  # fmt: skip

_MEASURE = """
import resource, sys, time
from srgan.images import DecodeOptions, ImageRejectedError, decode_image, open_checked

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

data = open(sys.argv[1], "rb").read()
options = DecodeOptions(4_000_000)
decode_image(open(sys.argv[2], "rb").read(), options)
before = status("VmHWM")
room = status("VmSize") + 400 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
outcomes = []
started = time.perf_counter()
for call in (lambda: decode_image(data, options), lambda: open_checked(data, max_pixels=4_000_000)):
    try:
        call()
        outcomes.append("accepted")
    except ImageRejectedError as error:
        outcomes.append(error.reason)
print(*outcomes, time.perf_counter() - started, status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_cost_neither_memory_nor_time(name: str, tmp_path: Path) -> None:
    build, wanted = BOMBS[name]
    bomb, sample = tmp_path / "bomb", tmp_path / "sample"
    bomb.write_bytes(build())
    sample.write_bytes(SAMPLES["png"])
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(bomb), str(sample)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == ""
    outcome, opened, seconds, peak = done.stdout.split()
    assert outcome == wanted
    assert opened in (wanted, "corrupt", "accepted")
    # The file itself, twice, and at most 4 megapixels.
    assert int(peak) < 3 * bomb.stat().st_size + 40 * _MIB
    assert float(seconds) < 3
