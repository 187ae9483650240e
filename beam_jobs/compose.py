"""Third pass: shards of the records that stay, from the frames of the units; nothing is decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from beam_jobs.inventory import read_if_exists
from beam_jobs.units import PARTS, MadeRecord, Part, frames_place, part_place
from srgan import records, storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError, StorageError
from srgan.records import SPLITS, Split

DONE = ".shard.json"
_PLAN = ".shard.plan"


@dataclass(frozen=True)
class Piece:
    """``length`` bytes of whole frames in a unit from ``offset`` on."""

    unit: str
    offset: int
    length: int


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be. ``fingerprint`` is the sha256 of the units and keys that it is made of."""

    name: str
    split: Split
    records: int
    size: int
    pieces: Sequence[Piece]
    fingerprint: str

    def to_bytes(self) -> bytes:
        pieces = [[piece.unit, piece.offset, piece.length] for piece in self.pieces]
        return json.dumps({**vars(self), "pieces": pieces}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardPlan:
        tree = json.loads(data)
        return cls(**{**tree, "pieces": [Piece(*piece) for piece in tree["pieces"]]})


def plan_shards(
    parts: Iterable[Part], dropped: Collection[str], config: DatasetConfig
) -> list[ShardPlan]:
    """Shards of about ``config.shard_bytes``, all of one split nearly the same size.

    ``parts`` come in the order of their plans; records whose key is in ``dropped`` stay out.
    """
    kept: dict[Split, list[tuple[str, str, int, int]]] = {split: [] for split in SPLITS}
    fingerprints: dict[str, str] = {}
    for part in parts:
        fingerprints[part.name] = part.fingerprint
        kept[part.split] += [
            (part.name, record.key, record.offset, record.length)
            for record in part.records
            if record.key not in dropped
        ]
    plans = []
    for split, rows in kept.items():
        cuts = _cut([length for *_, length in rows], config.shard_bytes)
        for index, (start, end) in enumerate(cuts):
            chosen = rows[start:end]
            units = sorted({unit for unit, *_ in chosen})
            tree = [[fingerprints[unit] for unit in units], [key for _, key, *_ in chosen]]
            plans.append(
                ShardPlan(
                    name=records.shard_name(split, index, len(cuts)),
                    split=split,
                    records=end - start,
                    size=sum(length for *_, length in chosen),
                    pieces=_pieces(chosen),
                    fingerprint=hashlib.sha256(canonical_json(tree)).hexdigest(),
                )
            )
    return plans


def kept_records(
    parts: Iterable[Part], dropped: Collection[str], plans: Sequence[ShardPlan]
) -> Iterator[tuple[ShardPlan, MadeRecord]]:
    """Every record of the shards in their order, with its shard."""
    queue = [plan for plan in plans for _ in range(plan.records)]
    place = 0
    for part in parts:
        for record in part.records:
            if record.key not in dropped:
                yield queue[place], record
                place += 1


def plan_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + _PLAN)


def done_place(dataset: str, name: str) -> str:
    return storage.join(dataset, PARTS, name + DONE)


def finished_sha256(dataset: str, plan: ShardPlan) -> str | None:
    """sha256 of the finished shard of a plan; ``None`` when it is not finished or not there."""
    data = read_if_exists(done_place(dataset, plan.name))
    if data is None:
        return None
    try:
        done = json.loads(data)
        fits, sha256 = done["fingerprint"] == plan.fingerprint, str(done["sha256"])
    except (ValueError, KeyError, TypeError):  # Torn by a power failure, or of another version.
        return None
    return sha256 if fits and storage.exists(storage.join(dataset, plan.name)) else None


def write_shard(place: str) -> None:
    """Worker: copy the frames of the plan at ``place`` into the shard, then note its sha256.

    Nothing happens when another builder has published the dataset meanwhile: if it was one of
    another version, its shards have other bytes. Nor when the shard is there already: an engine
    that has lost a machine repeats finished work.
    """
    data = read_if_exists(place)
    if data is None:
        return
    plan = ShardPlan.from_bytes(data)
    dataset = place.removesuffix(f"/{PARTS}/{plan.name}{_PLAN}")
    if storage.exists(storage.join(dataset, records.MANIFEST)):
        return
    if finished_sha256(dataset, plan) is not None:
        return
    digest = hashlib.sha256()
    with storage.open_write(storage.join(dataset, plan.name)) as shard:
        for piece in plan.pieces:
            for frame in _frames(dataset, piece):
                digest.update(frame)
                shard.write(frame)
    done = {"fingerprint": plan.fingerprint, "sha256": digest.hexdigest()}
    storage.write_bytes(done_place(dataset, plan.name), json.dumps(done).encode(), durable=False)


def _frames(dataset: str, piece: Piece) -> Iterator[bytes]:
    """The frames of a piece, each compared with its checksums."""
    place = frames_place(dataset, piece.unit)
    try:
        with storage.open_read(place) as stream:
            stream.seek(piece.offset)
            yield from records.read_frames(stream, place, piece.length)
    except (DatasetError, StorageError) as error:
        # Without its part the unit is made anew; the others stay.
        storage.delete(part_place(dataset, piece.unit))
        raise StorageError(f"{error}; run the build again, which makes it anew") from None


def _cut(lengths: Sequence[int], target: int) -> list[tuple[int, int]]:
    """(start, end) of runs of about ``target`` bytes, all nearly of one size, none empty."""
    if not lengths:
        return []
    total = sum(lengths)
    count = min(max(1, round(total / target)), len(lengths))
    cuts: list[tuple[int, int]] = []
    start = seen = 0
    for end, length in enumerate(lengths, 1):
        seen += length
        left = len(lengths) - end
        wanted = count - len(cuts) - 1
        if (
            end == len(lengths)
            or left == wanted
            or (wanted and seen * count >= total * (len(cuts) + 1))
        ):
            cuts.append((start, end))
            start = end
    return cuts


def _pieces(rows: Sequence[tuple[str, str, int, int]]) -> list[Piece]:
    """Neighbouring frames as one piece."""
    pieces: list[Piece] = []
    for unit, _, offset, length in rows:
        last = pieces[-1] if pieces else None
        if last is not None and last.unit == unit and last.offset + last.length == offset:
            pieces[-1] = Piece(unit, last.offset, last.length + length)
        else:
            pieces.append(Piece(unit, offset, length))
    return pieces
