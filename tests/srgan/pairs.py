"""Small published datasets and simple systems for the tests of evaluation and report."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from srgan import images, records, storage
from srgan.config import DatasetConfig
from srgan.degrade import degrade
from srgan.images import Pixels
from srgan.records import Dataset, Manifest, PairRecord, ShardInfo

ROOT = Path(__file__).parents[2]


def shared_data() -> Path | None:
    """The folder with real data, or ``None``."""
    path = Path(os.environ.get("SRGAN_SHARED_DATA", ROOT.parent / "shared" / "data"))
    return path if path.is_dir() else None


def scene(seed: int, side: int) -> Pixels:
    """A smooth background with edges and texture: something that enlarging can get wrong."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [
        0.5 + 0.3 * np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6))
        for _ in range(3)
    ]
    picture = np.stack(waves, axis=-1)
    for _ in range(6):
        cx, cy, radius = *rng.uniform(0, 1, 2), rng.uniform(0.05, 0.3)
        picture[np.hypot(x - cx, y - cy) < radius] = rng.uniform(0, 1, 3)
    return images.to_uint8(picture + rng.normal(0, 0.02, picture.shape))


def make_dataset(
    folder: Path,
    pictures: Sequence[Pixels],
    *,
    scale: int = 4,
    split: records.Split = "test",
    sources: Sequence[str] | None = None,
    shards: int = 2,
) -> Dataset:
    """Publish a dataset of HR ``pictures``, all in one split."""
    config = DatasetConfig(scale=scale, hr_size=64)
    rows = []
    for index, hr in enumerate(pictures):
        source = sources[index] if sources else f"person-{index}/photo {index}.jpg"
        key = hashlib.sha256(hr.tobytes() + bytes([index])).hexdigest()
        hr_png, lr_png = images.encode_png(hr), images.encode_png(degrade(hr, config))
        rows.append(PairRecord(key, source.partition("/")[0], source, hr_png, lr_png))
    infos = []
    for number in range(shards):
        part = rows[number::shards]
        stream = io.BytesIO()
        records.write_records(stream, part)
        name = records.shard_name(split, number, shards)
        storage.write_bytes(str(folder / name), stream.getvalue())
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        size = len(stream.getvalue())
        infos.append(
            ShardInfo(name=name, split=split, records=len(part), bytes=size, sha256=digest)
        )
    manifest = Manifest(
        build_id=hashlib.sha256(str(folder).encode()).hexdigest()[:12],
        config=config,
        image_set=str(folder / "photos"),
        inputs=len(rows),
        used_sources=len(rows),
        rejected_sources=0,
        rejected_crops=0,
        records={split: len(rows)},
        groups={split: len(rows)},
        reject_reasons={},
        shards=infos,
        files={},
        statistics=None,
        code_version="test",
    )
    storage.write_bytes(str(folder / records.MANIFEST), manifest.to_bytes())
    return records.open_dataset(str(folder))


def sharpened(batch: Pixels) -> Pixels:
    """Lanczos x4, then an unsharp mask: closer to most originals than bicubic."""
    enlarged = []
    for lr in batch:
        size = lr.shape[1] * 4, lr.shape[0] * 4
        image = Image.fromarray(lr).resize(size, Image.Resampling.LANCZOS)
        enlarged.append(np.asarray(image.filter(ImageFilter.UnsharpMask(1.5, 60, 0))))
    return np.stack(enlarged)


def nearest(batch: Pixels) -> Pixels:
    """Repeated pixels, x4: worse than bicubic."""
    return batch.repeat(4, axis=1).repeat(4, axis=2)
