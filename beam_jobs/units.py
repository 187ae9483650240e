"""Second pass: the sources of a *unit* to LR/HR pairs, in one worker.

A unit is what one worker decodes at a time; its frames wait beside its *part* (what is known of
them) until shards are composed of them. It is done when its part is there and fits the plan: a
build that was killed goes on with the units that are missing. Pixels never leave the worker that
decoded them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
from PIL import Image

from beam_jobs.inventory import in_order, read_if_exists
from beam_jobs.pairs import Pair, SourcePairs, group_of, make_pairs, split_of
from beam_jobs.sorting import Candidate
from srgan import __version__, images, imageset, records, storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError, StorageError
from srgan.images import ImageRejectedError, Pixels
from srgan.imageset import ImageFile
from srgan.records import SPLITS, PairRecord, Reject, Split

if TYPE_CHECKING:
    from srgan.faces import Detector

PARTS = ".parts"
PART = ".unit.json"
_PLAN, _FRAMES = ".unit.plan", ".unit.frames"
DETECTOR = "detector.model"
# Small enough that progress is seen, work spreads evenly and little is lost with a worker.
_MAX_SOURCES, _MAX_BYTES = 250, 32 * 2**20
_LEVELS = np.arange(256)


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """A source to be decoded, and its LR file where LR files come with the HR."""

    key: str
    group: str
    file: ImageFile
    lr: ImageFile | None
    lr_sha256: str | None


@dataclass(frozen=True)
class UnitPlan:
    """What one worker decodes at a time."""

    name: str
    split: Split
    config: DatasetConfig
    sources: Sequence[PlannedSource]

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides the unit's bytes; where the sources lie does not."""
        rows = [[s.key, s.group, s.file.name, s.lr_sha256] for s in self.sources]
        code = [__version__, records.SCHEMA_VERSION, PIL.__version__]
        tree = [code, self.config.model_dump(mode="json"), self.split, self.name, rows]
        return hashlib.sha256(canonical_json(tree)).hexdigest()

    def to_bytes(self) -> bytes:
        tree = {
            "name": self.name,
            "split": self.split,
            "config": self.config.model_dump(mode="json"),
            "sources": [
                [s.key, s.group, s.file.to_row(), s.lr and s.lr.to_row(), s.lr_sha256]
                for s in self.sources
            ],
        }
        return json.dumps(tree).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> UnitPlan:
        tree = json.loads(data)
        config = DatasetConfig.model_validate(tree["config"])
        sources = [
            PlannedSource(
                key,
                group,
                ImageFile.from_row(file),
                None if lr is None else ImageFile.from_row(lr),
                lr_sha256,
            )
            for key, group, file, lr, lr_sha256 in tree["sources"]
        ]
        return cls(tree["name"], tree["split"], config, sources)


@dataclass(frozen=True, slots=True)
class MadeRecord:
    """A record in a unit's frames, from ``offset`` on ``length`` bytes.

    ``pixels``: digest of HR's pixels, 32 hex digits; ``hash``: perceptual hash, 64 hex digits;
    ``sums`` and ``squares`` of HR's channels and their ``count`` are exact integers.
    """

    key: str
    source: str
    group: str
    offset: int
    length: int
    width: int
    height: int
    side: float
    sharpness: float
    contrast: float
    hash: str
    pixels: str
    count: int
    sums: list[int]
    squares: list[int]


@dataclass(frozen=True)
class Part:
    """What is known of a finished unit; ``size`` is that of its frames in bytes."""

    fingerprint: str
    name: str
    split: Split
    size: int
    records: list[MadeRecord]
    rejected: list[Reject]

    def to_bytes(self) -> bytes:
        tree = {
            **vars(self),
            "records": [[getattr(r, name) for name in r.__slots__] for r in self.records],
            "rejected": [[getattr(r, name) for name in r.__slots__] for r in self.rejected],
        }
        return json.dumps(tree).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Part:
        tree: dict[str, Any] = json.loads(data)
        # What the inventory has in memory already is not there twice.
        tree["records"] = [
            MadeRecord(sys.intern(key), sys.intern(source), *row)
            for key, source, *row in tree["records"]
        ]
        tree["rejected"] = [Reject(*row) for row in tree["rejected"]]
        return cls(**tree)


def plan_units(candidates: Sequence[Candidate], config: DatasetConfig) -> list[UnitPlan]:
    """Units of all splits, the sources in the order of their keys."""
    by_split: dict[Split, list[PlannedSource]] = {split: [] for split in SPLITS}
    for candidate in sorted(candidates, key=lambda c: c.hr.sha256):
        hr, lr = candidate.hr, candidate.lr
        group = sys.intern(group_of(hr.file.inside, hr.sha256, config))
        planned = PlannedSource(
            hr.sha256, group, hr.file, lr.file if lr else None, lr.sha256 if lr else None
        )
        by_split[split_of(group, config)].append(planned)
    return [
        UnitPlan(f"{split}-{number:05d}", split, config, sources)
        for split, planned in by_split.items()
        for number, sources in enumerate(_cut(planned, config))
    ]


def plan_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + _PLAN)


def part_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + PART)


def frames_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + _FRAMES)


def read_part(dataset: str, name: str, fingerprint: str) -> Part | None:
    """The part of a unit; ``None`` when there is none or it belongs to another plan."""
    data = read_if_exists(part_place(dataset, name))
    try:
        part = None if data is None else Part.from_bytes(data)
    except (ValueError, TypeError):  # Torn by a power failure, or of another version.
        return None
    return part if part is not None and part.fingerprint == fingerprint else None


def write_unit(place: str) -> None:
    """Worker: make the pairs of the plan at ``place``, write their frames, then the part.

    Nothing happens when the plan is gone (another builder has published the dataset meanwhile),
    or when the unit is there already: an engine that has lost a machine repeats finished work.
    """
    data = read_if_exists(place)
    if data is None:
        return
    plan = UnitPlan.from_bytes(data)
    dataset = place.removesuffix(f"/{PARTS}/{plan.name}{_PLAN}")
    fingerprint = plan.fingerprint
    done = read_part(dataset, plan.name, fingerprint)
    if done and storage.exists(frames_place(dataset, plan.name)):
        return
    detector = _detector(dataset, plan.config)
    made: list[MadeRecord] = []
    rejected: list[Reject] = []
    size = 0
    # Lost with a power failure at worst, and then missed: shards are composed with a checksum.
    with storage.open_write(frames_place(dataset, plan.name), durable=False) as stream:
        for planned, (content, lr_content) in _contents(plan):
            if isinstance(content, ImageRejectedError):
                rejected += _rejects(planned, content)
                continue
            try:
                found = make_pairs(
                    content,
                    plan.config,
                    key=planned.key,
                    lr_data=lr_content,
                    detector=detector,
                )
            except ImageRejectedError as error:
                rejected += _rejects(planned, error)
                continue
            for number, reason, detail in found.rejected:
                rejected.append(Reject(planned.file.name, reason, detail, planned.key, number))
            for pair in found.pairs:
                frame = records.frame(records.encode_example(_record(planned, pair)))
                stream.write(frame)
                made.append(_measured(planned, found, pair, size, len(frame)))
                size += len(frame)
    part = Part(fingerprint, plan.name, plan.split, size, made, rejected)
    storage.write_bytes(part_place(dataset, plan.name), part.to_bytes(), durable=False)


def _cut(sources: Sequence[PlannedSource], config: DatasetConfig) -> Iterator[list[PlannedSource]]:
    # No unit is much larger than a shard.
    most = max(1, min(_MAX_SOURCES, config.shard_bytes // (3 * config.hr_size**2)))
    unit: list[PlannedSource] = []
    size = 0
    for source in sources:
        if unit and (len(unit) == most or size + source.file.size > _MAX_BYTES):
            yield unit
            unit, size = [], 0
        unit.append(source)
        size += source.file.size
    if unit:
        yield unit


_Content = bytes | ImageRejectedError


def _contents(plan: UnitPlan) -> Iterator[tuple[PlannedSource, tuple[_Content, bytes | None]]]:
    """Every source with its bytes and those of its LR file."""

    def read(planned: PlannedSource) -> tuple[_Content, bytes | None]:
        try:
            content = _read(planned.file, planned.key, plan.config)
            if planned.lr is None or planned.lr_sha256 is None:
                return content, None
            return content, _read(planned.lr, planned.lr_sha256, plan.config)
        except ImageRejectedError as error:
            return error, None

    contents = in_order(read, plan.sources, lambda planned: planned.file.place)
    return zip(plan.sources, contents, strict=True)


def _read(file: ImageFile, sha256: str, config: DatasetConfig) -> bytes:
    where = file.place if file.span is None else f"{file.place}: {file.name}"
    damage: ImageRejectedError | None = None
    content = b""
    try:
        try:
            content = imageset.read_file(file, max_bytes=config.max_bytes)
            found = hashlib.sha256(content).hexdigest()
        except ImageRejectedError as error:
            # A member that cannot be unpacked; or the archive is not the one that was listed.
            damage, found = error, imageset.sha256_of(file)
    except StorageError:
        if storage.exists(file.place):
            raise
        raise DatasetError(
            f"{where}: vanished while the dataset was being built; "
            "run the build again when nobody changes the image set"
        ) from None
    if found != sha256:
        raise DatasetError(
            f"{where}: changed while the dataset was being built; "
            "run the build again when nobody writes to the image set"
        )
    if damage is not None:
        raise damage
    return content


def _rejects(planned: PlannedSource, error: ImageRejectedError) -> Iterator[Reject]:
    yield Reject(planned.file.name, error.reason, error.detail, planned.key)
    if planned.lr is not None and planned.lr_sha256 is not None:
        detail = f"{error.detail} (LR of {planned.file.name})"
        yield Reject(planned.lr.name, error.reason, detail, planned.lr_sha256)


def _detector(dataset: str, config: DatasetConfig) -> Detector | None:
    if config.crop != "faces":
        return None
    return _open_detector(storage.join(dataset, PARTS, DETECTOR), config)


@functools.lru_cache(maxsize=1)
def _open_detector(place: str, config: DatasetConfig) -> Detector:
    from srgan.faces import open_detector

    kind = config.faces.detector
    assert kind != "auto"
    model = storage.read_bytes(place) if kind == "yunet" else None
    return open_detector(kind, model, config.faces, config.hr_size)


def _record(planned: PlannedSource, pair: Pair) -> PairRecord:
    return PairRecord(
        key=pair.key,
        group=planned.group,
        source=planned.file.name,
        hr=images.encode_png(pair.hr),
        lr=images.encode_png(pair.lr),
    )


def _measured(
    planned: PlannedSource, found: SourcePairs, pair: Pair, offset: int, length: int
) -> MadeRecord:
    count, sums, squares = _moments(pair.hr)
    return MadeRecord(
        key=pair.key,
        source=planned.file.name,
        group=planned.group,
        offset=offset,
        length=length,
        width=found.width,
        height=found.height,
        side=round(float(pair.side), 2),
        sharpness=round(pair.measures.sharpness, 3),
        contrast=round(pair.measures.contrast, 3),
        hash=pair.measures.hash.hex(),
        pixels=_pixel_digest(pair.hr),
        count=count,
        sums=sums,
        squares=squares,
    )


def _pixel_digest(hr: Pixels) -> str:
    digest = hashlib.sha256(repr(hr.shape).encode())
    digest.update(np.ascontiguousarray(hr).data)
    return digest.hexdigest()[:32]


def _moments(hr: Pixels) -> tuple[int, list[int], list[int]]:
    histogram = np.array(Image.fromarray(hr).histogram(), np.int64).reshape(3, 256)
    sums, squares = (histogram @ _LEVELS).tolist(), (histogram @ _LEVELS**2).tolist()
    return hr.shape[0] * hr.shape[1], sums, squares
