"""How two datasets differ: their settings, their records, and who is in which split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from srgan.datasets.show import Setting, differing_settings
from srgan.records import Dataset, Split, read_record_infos


@dataclass(frozen=True)
class Move:
    """A photo, or a group, that is in one split here and in another split there."""

    name: str
    here: Split
    there: Split


@dataclass(frozen=True)
class DatasetDiff:
    """Two datasets beside each other.

    ``common`` records have the same key; ``altered`` are those of them whose HR is not the same
    (another perceptual hash or measure). ``only_here`` and ``only_there`` map the keys of other
    records to their sources. ``moved`` photos (by sha256, named by their source here) and groups
    are in different splits: a model trained on both sees what one of them holds out.
    """

    here: str
    there: str
    settings: tuple[Setting, ...]
    same_image_set: bool
    common: int
    altered: int
    only_here: Mapping[str, str]
    only_there: Mapping[str, str]
    moved: tuple[Move, ...]
    moved_groups: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    source: str
    group: str
    split: Split
    measures: tuple[object, ...]


def compare(
    here: Dataset, there: Dataset, progress: Callable[[int, int], None] | None = None
) -> DatasetDiff:
    """Compare by what the lists of records say; ``progress`` is told (records read, records)."""
    total = sum(sum(d.manifest.records.values()) for d in (here, there))
    ours = _rows(here, 0, total, progress)
    theirs = _rows(there, len(ours), total, progress)
    common = ours.keys() & theirs.keys()
    photos, other_photos = (
        {key[:64]: (row.source, row.split) for key, row in sorted(rows.items())}
        for rows in (ours, theirs)
    )
    groups, other_groups = (
        # A record that is a group by itself is a photo, and said there.
        {row.group: (row.group, row.split) for key, row in rows.items() if row.group != key[:64]}
        for rows in (ours, theirs)
    )
    return DatasetDiff(
        here=here.place,
        there=there.place,
        settings=tuple(differing_settings(here.manifest.config, there.manifest.config)),
        same_image_set=here.manifest.image_set == there.manifest.image_set,
        common=len(common),
        altered=sum(ours[key].measures != theirs[key].measures for key in common),
        only_here=_sources(ours, theirs),
        only_there=_sources(theirs, ours),
        moved=_moves(photos, other_photos),
        moved_groups=_moves(groups, other_groups),
    )


def _rows(
    dataset: Dataset, done: int, total: int, progress: Callable[[int, int], None] | None
) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    for info in read_record_infos(dataset):
        measures = (info.hash, info.side, info.sharpness, info.contrast)
        rows[info.key] = _Row(info.source, info.group, info.split, measures)
        if progress is not None and len(rows) % 1000 == 0:
            progress(done + len(rows), total)
    return rows


def _sources(rows: Mapping[str, _Row], others: Mapping[str, _Row]) -> dict[str, str]:
    only = [(row.source, key) for key, row in rows.items() if key not in others]
    return {key: source for source, key in sorted(only)}


def _moves(
    here: Mapping[str, tuple[str, Split]], there: Mapping[str, tuple[str, Split]]
) -> tuple[Move, ...]:
    moves = [
        Move(here[what][0], here[what][1], there[what][1])
        for what in here.keys() & there.keys()
        if here[what][1] != there[what][1]
    ]
    return tuple(sorted(moves, key=lambda move: (move.here, move.there, move.name)))
