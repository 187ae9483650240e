"""Small published datasets and simple systems for the tests of evaluation and report."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from srgan import images, records, storage
from srgan.dataset_config import DatasetConfig
from srgan.degrade import degrade
from srgan.images import Pixels
from srgan.records import Dataset, Manifest, PairRecord, RecordInfo, Reject, ShardInfo


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


def make_training_dataset(
    folder: Path,
    *,
    train: int = 12,
    side: int = 64,
    rejects: Sequence[Reject] = (),
    settings: Mapping[str, Any] | None = None,
    excluded: Sequence[str] = (),
) -> Dataset:
    """Scenes of ``side`` pixels in all three splits, no scene in two of them."""
    counts: dict[records.Split, int] = {"train": train, "val": 3, "test": 3}
    by_split: dict[records.Split, list[tuple[str, Pixels]]] = {}
    seed = 0
    for split, count in counts.items():
        by_split[split] = [(f"person-{s}/a.jpg", scene(s, side)) for s in range(seed, seed + count)]
        seed += count
    return publish(
        folder,
        by_split,
        scale=4,
        shards=2,
        rejects=rejects,
        settings=settings,
        excluded=excluded,
    )


def publish(
    folder: Path,
    by_split: Mapping[records.Split, Sequence[tuple[str, Pixels]]],
    *,
    scale: int,
    shards: int,
    rejects: Sequence[Reject] = (),
    settings: Mapping[str, Any] | None = None,
    excluded: Sequence[str] = (),
) -> Dataset:
    """Write a dataset of (source, HR picture) by split.

    A picture's key is the sha256 of its name and pixels, as if that were the source file. HR sides
    are those of the pictures, whatever ``hr_size`` says.
    """
    config = DatasetConfig.model_validate({"scale": scale, "hr_size": 64, **(settings or {})})
    shard_infos: list[ShardInfo] = []
    infos: list[RecordInfo] = []
    for split in records.SPLITS:
        pictures = by_split.get(split, ())
        rows = [(_record(source, hr, config), hr) for source, hr in pictures]
        for number in range(shards if split in by_split else 0):
            part = rows[number::shards]
            stream = io.BytesIO()
            records.write_records(stream, [record for record, _ in part])
            data = stream.getvalue()
            name = records.shard_name(split, number, shards)
            storage.write_bytes(str(folder / name), data)
            shard_infos.append(
                ShardInfo(
                    name=name,
                    split=split,
                    records=len(part),
                    bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
            infos += [_info(record, hr, split, name) for record, hr in part]
    refused = sorted(rejects, key=lambda reject: reject.source)
    files = {
        records.RECORDS: b"".join(info.to_line() for info in infos),
        records.REJECTED: b"".join(reject.to_line() for reject in refused),
    }
    for name, data in files.items():
        storage.write_bytes(str(folder / name), data)
    whole = [reject for reject in refused if reject.crop is None]
    crops = [reject for reject in refused if reject.crop is not None]
    used = len({info.sha256 for info in infos})
    manifest = Manifest(
        build_id=hashlib.sha256(str(folder).encode()).hexdigest()[:12],
        config=config,
        image_set=f"sha256:{hashlib.sha256(files[records.RECORDS]).hexdigest()}",
        excluded=list(excluded),
        inputs=used + len(whole),
        used_sources=used,
        rejected_sources=len(whole),
        rejected_crops=len(crops),
        records={split: len(by_split.get(split, ())) for split in records.SPLITS},
        groups={s: len({i.group for i in infos if i.split == s}) for s in records.SPLITS},
        reject_reasons=dict(Counter(reject.reason for reject in whole)),
        reject_crop_reasons=dict(Counter(reject.reason for reject in crops)),
        shards=shard_infos,
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        statistics=None,
        code_version="test",
    )
    storage.write_bytes(str(folder / records.MANIFEST), manifest.to_bytes())
    return records.open_dataset(str(folder))


def _record(source: str, hr: Pixels, config: DatasetConfig) -> PairRecord:
    key = hashlib.sha256(hr.tobytes() + source.encode()).hexdigest()
    pngs = images.encode_png(hr), images.encode_png(degrade(hr, config, key))
    return PairRecord(key, source.partition("/")[0], source, *pngs)


def _info(record: PairRecord, hr: Pixels, split: records.Split, shard: str) -> RecordInfo:
    """The line about a record; its measures are simpler than those of a build."""
    height, width = hr.shape[:2]
    luma = hr.mean(axis=2)
    return RecordInfo(
        key=record.key,
        source=record.source,
        group=record.group,
        split=split,
        shard=shard,
        width=width,
        height=height,
        side=float(min(height, width)),
        sharpness=round(float(np.abs(np.diff(luma, axis=1)).mean()), 3),
        contrast=round(float(luma.std()), 3),
        hash=hashlib.sha256(hr.tobytes()).hexdigest(),
    )


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
