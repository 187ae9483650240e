"""Files that unpack to far more than they are: memory and time stay bounded, and all count."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from srgan.dataset_config import DatasetConfig
from srgan.records import open_dataset, read_rejects
from tests.beam_jobs.archive_writers import Entry, zip_of
from tests.beam_jobs.hostile_pictures import chunk, png_of
from tests.beam_jobs.image_sets import encoded, picture
from tests.support import ROOT

DEFAULTS = DatasetConfig(hr_size=32)
_MIB = 2**20


@pytest.mark.slow
def test_bombs_cost_no_memory(tmp_path: Path) -> None:
    """With the default limits: what is beyond them is neither read nor decoded nor unpacked."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(picture(1)))
    for name, data in _bombs():
        (folder / name).write_bytes(data)
    reasons, peak = _build(tmp_path)
    baseline = _baseline(tmp_path / "small")
    assert reasons == {
        "12000x9000.png": "too_many_pixels",
        "text.png": "flat",
        "profile.png": "flat",
        "zeros.zip/zeros.png": "too_many_bytes",
        "liar.zip/zeros.png": "corrupt",
        "nested.zip/inner-0.zip": "not_an_image",
        "nested.zip/inner-1.zip": "not_an_image",
        "zeros.tar.gz/zeros.png": "too_many_bytes",
        "zeros.png.gz": "not_an_image",
        "many.tar.gz": "not_an_image",
    }, reasons
    assert peak < baseline + 150 * _MIB


@pytest.mark.slow
def test_giants_within_the_limits(tmp_path: Path) -> None:
    """49 million pixels are allowed, in any format; that is what a worker needs memory for."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(picture(1)))
    ramp = Image.radial_gradient("L").resize((7000, 7000))
    giant = Image.merge("RGB", (ramp, ramp.transpose(Image.Transpose.ROTATE_90), ramp))
    giant.save(folder / "giant.png", compress_level=1)
    giant.save(folder / "baseline.jpg", quality=60)
    giant.save(folder / "progressive.jpg", quality=61, progressive=True)
    giant.save(folder / "giant.tif", compression="tiff_lzw")
    giant.convert("CMYK").save(folder / "cmyk.jpg", quality=50)
    reasons, peak = _build(tmp_path)
    assert set(reasons.values()) <= {"duplicate", "near_duplicate", "blurred"}
    assert peak < 1000 * _MIB


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "12000x9000.png", png_of(12000, 9000, 8, 2, bytes(9000 * (1 + 3 * 12000)))
    flat = (b"\0" + b"\x55" * 96) * 32
    zeros = zlib.compress(bytes(100 * _MIB), 1)
    yield "text.png", png_of(32, 32, 8, 2, flat, extra=chunk(b"zTXt", b"a\0\0" + zeros))
    flat = (b"\0" + b"\x56" * 96) * 32
    yield "profile.png", png_of(32, 32, 8, 2, flat, extra=chunk(b"iCCP", b"a\0\0" + zeros))
    large = bytes(150 * _MIB)
    packed = zip_of([Entry(b"zeros.png", large)])
    yield "zeros.zip", packed
    yield "liar.zip", zip_of([Entry(b"zeros.png", large, size=1000)])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("inner-0.zip", packed)
        archive.writestr("inner-1.zip", packed)
    yield "nested.zip", buffer.getvalue()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo("zeros.png")
        info.size = len(large)
        tar.addfile(info, io.BytesIO(large))
    yield "zeros.tar.gz", buffer.getvalue()
    yield "zeros.png.gz", gzip.compress(large, 1, mtime=0)
    yield "many.tar.gz", gzip.compress(b"", mtime=0) * 100_000


def _build(folder: Path) -> tuple[dict[str, str], int]:
    """Reasons of rejected sources, and the most memory that the build had."""
    arguments = {
        "image_set": str(folder / "set"),
        "root": str(folder / "out"),
        "config": DEFAULTS.model_dump(mode="json"),
        "workers": 1,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.beam_jobs.build_once", json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    rejects = read_rejects(open_dataset(answer["place"]))
    return {reject.source: reject.reason for reject in rejects}, answer["peak"]


def _baseline(folder: Path) -> int:
    """The memory of a build of nothing but one photo."""
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "good.png").write_bytes(encoded(picture(1)))
    return _build(folder)[1]
