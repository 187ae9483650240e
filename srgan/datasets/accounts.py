"""Whether the lists of records and rejects, and the manifest's counts, agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from srgan.datasets.problems import Problem
from srgan.errors import SrganError
from srgan.records import (
    MANIFEST,
    RECORDS,
    REJECTED,
    SPLITS,
    Dataset,
    RecordInfo,
    Reject,
    Split,
    read_record_infos,
    read_rejects,
)

K = TypeVar("K", bound=str)


@dataclass(frozen=True, slots=True)
class Listed:
    """What ``records.jsonl`` says a record is."""

    key: str
    group: str
    source: str


@dataclass
class Accounts:
    """The records by shard in their order, and what is wrong with the lists.

    ``complete``: every line of ``records.jsonl`` could be read.
    """

    shards: dict[str, list[Listed]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True


def check_accounts(dataset: Dataset) -> Accounts:
    """Read both lists and compare them with the manifest and with each other."""
    accounts = Accounts()
    sources = _check_records(dataset, accounts)
    try:
        rejects = list(read_rejects(dataset))
    except (SrganError, TypeError) as error:
        accounts.problems.append(Problem(REJECTED, f"cannot be read: {error}"))
    else:
        accounts.problems += _check_rejects(dataset, rejects, sources)
    accounts.problems += _check_sources(dataset, sources if accounts.complete else None)
    return accounts


def _check_records(dataset: Dataset, accounts: Accounts) -> set[str]:
    manifest = dataset.manifest
    places = {shard.name: number for number, shard in enumerate(manifest.shards)}
    splits = {shard.name: shard.split for shard in manifest.shards}
    keys: set[str] = set()
    sources: set[str] = set()
    groups: dict[str, Split] = {}
    counts: Counter[Split] = Counter()
    strange: Counter[str] = Counter()
    problems, last = accounts.problems, -1
    for info in _read(dataset, accounts):
        line = f"{info.source} (record {info.key[:12]}…{info.key[64:]})"
        if info.key in keys:
            problems.append(Problem(RECORDS, f"{line} is listed twice"))
        keys.add(info.key)
        sources.add(info.source)
        counts[info.split] += 1
        if info.shard not in places:
            strange[info.shard] += 1
        elif splits[info.shard] != info.split:
            problems.append(Problem(RECORDS, f"{line} of {info.split} is in {info.shard}"))
        elif places[info.shard] < last:
            problems.append(Problem(RECORDS, f"{line} is not in the order of the shards"))
        last = max(last, places.get(info.shard, last))
        other = groups.setdefault(info.group, info.split)
        if other != info.split:
            what = f"group {info.group} is in {other} and in {info.split} ({info.source})"
            problems.append(Problem(RECORDS, what))
        accounts.shards.setdefault(info.shard, []).append(Listed(info.key, info.group, info.source))
    for shard, count in strange.items():
        what = f"{count:,} records in {shard}, which {MANIFEST} does not list"
        problems.append(Problem(RECORDS, what))
    if accounts.complete:
        found = Counter(groups.values())
        problems += _differences("records", RECORDS, manifest.records, counts, SPLITS)
        problems += _differences("groups", RECORDS, manifest.groups, found, SPLITS)
    return sources


def _read(dataset: Dataset, accounts: Accounts) -> Iterator[RecordInfo]:
    try:
        yield from read_record_infos(dataset)
    except (SrganError, TypeError) as error:
        accounts.complete = False
        accounts.problems.append(Problem(RECORDS, f"cannot be read: {error}"))


def _check_rejects(
    dataset: Dataset, rejects: Sequence[Reject], sources: set[str]
) -> Iterator[Problem]:
    manifest = dataset.manifest
    whole = [reject for reject in rejects if reject.crop is None]
    names = Counter(reject.source for reject in whole)
    for name, count in names.items():
        if count > 1:
            yield Problem(REJECTED, f"{name} is rejected {count} times")
        if name in sources:
            yield Problem(REJECTED, f"{name} is rejected, though a record is made of it")
    reasons = Counter(reject.reason for reject in whole)
    crops = Counter(reject.reason for reject in rejects if reject.crop is not None)
    for what, said, found in (
        ("sources rejected", manifest.reject_reasons, reasons),
        ("crops rejected", manifest.reject_crop_reasons, crops),
    ):
        yield from _differences(what, REJECTED, said, found, sorted({*said, *found}))
    for what, number, total in (
        ("rejected sources", manifest.rejected_sources, reasons.total()),
        ("rejected crops", manifest.rejected_crops, crops.total()),
    ):
        if number != total:
            yield Problem(MANIFEST, f"{number:,} {what}, {REJECTED} has {total:,}")


def _check_sources(dataset: Dataset, sources: set[str] | None) -> Iterator[Problem]:
    manifest = dataset.manifest
    if manifest.inputs != manifest.used_sources + manifest.rejected_sources:
        yield Problem(
            MANIFEST,
            f"{manifest.inputs:,} inputs are not {manifest.used_sources:,} used and "
            f"{manifest.rejected_sources:,} rejected",
        )
    if sources is not None:
        # An LR file that came with its HR file is a source, too.
        used = len(sources) * (2 if manifest.config.degradation == "paired" else 1)
        if used != manifest.used_sources:
            yield Problem(
                MANIFEST, f"{manifest.used_sources:,} used sources, {RECORDS} has {used:,}"
            )


def _differences(
    what: str,
    name: str,
    said: Mapping[K, int],
    found: Mapping[K, int],
    keys: Iterable[K],
) -> Iterator[Problem]:
    for key in keys:
        if said.get(key, 0) != found.get(key, 0):
            counts = f"{found.get(key, 0):,}, {MANIFEST} says {said.get(key, 0):,}"
            yield Problem(name, f"{what} ({key}): {counts}")
