"""Small published datasets and simple systems for the tests of evaluation and report."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from srgan import images, records, storage
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
from srgan.images import Pixels
from srgan.records import Dataset, Manifest, PairRecord, ShardInfo


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
    names = sources or [f"person-{index}/photo {index}.jpg" for index in range(len(pictures))]
    return publish(
        folder, {split: list(zip(names, pictures, strict=True))}, scale=scale, shards=shards
    )


def make_training_dataset(folder: Path, *, train: int = 12, side: int = 64) -> Dataset:
    """Scenes of ``side`` pixels in all three splits, no scene in two of them."""
    counts: dict[records.Split, int] = {"train": train, "val": 3, "test": 3}
    by_split: dict[records.Split, list[tuple[str, Pixels]]] = {}
    seed = 0
    for split, count in counts.items():
        by_split[split] = [(f"person-{s}/a.jpg", scene(s, side)) for s in range(seed, seed + count)]
        seed += count
    return publish(folder, by_split, scale=4, shards=2)


def publish(
    folder: Path,
    by_split: Mapping[records.Split, Sequence[tuple[str, Pixels]]],
    *,
    scale: int,
    shards: int,
) -> Dataset:
    """Write shards and manifest of (source, HR picture) by split."""
    config = DatasetConfig.model_validate({"scale": scale, "hr_size": 64})
    infos = []
    total = sum(len(pictures) for pictures in by_split.values())
    for split, pictures in by_split.items():
        rows = [_record(source, hr, config) for source, hr in pictures]
        for number in range(shards):
            part = rows[number::shards]
            stream = io.BytesIO()
            records.write_records(stream, part)
            data = stream.getvalue()
            name = records.shard_name(split, number, shards)
            storage.write_bytes(str(folder / name), data)
            infos.append(
                ShardInfo(
                    name=name,
                    split=split,
                    records=len(part),
                    bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
    manifest = Manifest(
        build_id=hashlib.sha256(str(folder).encode()).hexdigest()[:12],
        config=config,
        image_set=str(folder / "photos"),
        inputs=total,
        used_sources=total,
        rejected_sources=0,
        rejected_crops=0,
        records={split: len(pictures) for split, pictures in by_split.items()},
        groups={split: len(pictures) for split, pictures in by_split.items()},
        reject_reasons={},
        shards=infos,
        files={},
        statistics=None,
        code_version="test",
    )
    storage.write_bytes(str(folder / records.MANIFEST), manifest.to_bytes())
    return records.open_dataset(str(folder))


def _record(source: str, hr: Pixels, config: DatasetConfig) -> PairRecord:
    key = hashlib.sha256(hr.tobytes() + source.encode()).hexdigest()
    pngs = images.encode_png(hr), images.encode_png(degrade(hr, config))
    return PairRecord(key, source.partition("/")[0], source, *pngs)


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
