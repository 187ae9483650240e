"""Parts of a split that are looked at by themselves, such as its sharpest photos.

A mean over all pictures hides what happens on some of them. A slice is a name and a question that
is asked of a record's line in ``records.jsonl``; its threshold comes from the split itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from srgan.records import Dataset, RecordInfo, Split, read_record_infos

SHARPEST = "sharpest"
_QUARTER = 0.75


@dataclass(frozen=True)
class Slice:
    """``name`` is for metrics and files, ``title`` for people; ``holds`` says who is in it."""

    name: str
    title: str
    holds: Callable[[RecordInfo], bool]


def slices_of(infos: Sequence[RecordInfo]) -> list[Slice]:
    """The slices of the records of a split."""
    return [sharpest_quarter(infos)] if infos else []


def sharpest_quarter(infos: Sequence[RecordInfo]) -> Slice:
    """The quarter of the records with the most detail (:func:`srgan.quality.sharpness`).

    A photo that was blurred or enlarged before it came here cannot tell how well detail is
    restored: no system can be seen to miss what is not there.
    """
    least = float(np.quantile([info.sharpness for info in infos], _QUARTER))
    return Slice(SHARPEST, "the sharpest quarter", lambda info: info.sharpness >= least)


def memberships(datasets: Sequence[Dataset], split: Split) -> tuple[list[Slice], Members]:
    """The slices of a split of several datasets together, and the slices' names by record.

    A record is (the dataset's digest, its key): a photo may be in several datasets.
    """
    found = [
        (dataset.digest, info)
        for dataset in datasets
        for info in read_record_infos(dataset)
        if info.split == split
    ]
    slices = slices_of([info for _, info in found])
    members = {
        (digest, info.key): tuple(part.name for part in slices if part.holds(info))
        for digest, info in found
    }
    return slices, members


Members = dict[tuple[str, str], tuple[str, ...]]
