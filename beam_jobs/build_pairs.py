"""An image set to an immutable dataset of LR/HR pairs.

    python -m beam_jobs.build_pairs --input photos --output datasets

Steps, each of which repeats nothing that is done:
1. list the image set and hash every file (Beam);
2. derive the build id; a dataset with it that has a manifest is finished already;
3. reject copies and oversized files, plan the shards;
4. decode the sources and write each shard in one worker (Beam);
5. check that every source is in one record or one reject; publish the manifest.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beam_jobs import shards
from beam_jobs.inventory import CHUNK, HASHES, Source, take_inventory
from beam_jobs.pairs import check_group
from beam_jobs.publish import all_rejects, build_id_of, check_accounts, publish, sort_out, tidy
from beam_jobs.runners import LOCAL, Engine, choose_engine
from beam_jobs.shards import Part, Reject, ShardPlan
from beam_jobs.watch import BuildProgress, Listener, ignore, watching
from srgan import storage
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError, StorageError
from srgan.records import MANIFEST, Dataset, open_dataset
from srgan.storage import StoredFile

__all__ = ["BuildProgress", "BuildResult", "build", "main"]

# Below this, worker processes cost more time to start than they save.
_WORTH_PROCESSES = 1500


@dataclass(frozen=True)
class BuildResult:
    """``already_built``: nothing was done; ``by_another``: a builder beside us was first."""

    dataset: Dataset
    already_built: bool
    seconds: float
    by_another: bool = False


def build(
    image_set: str,
    root: str,
    config: DatasetConfig,
    *,
    runner: str = LOCAL,
    workers: int = 0,
    pipeline_args: Sequence[str] = (),
    progress: Callable[[BuildProgress], None] | None = None,
) -> BuildResult:
    """Build ``<root>/<name>-<build id>`` from ``image_set`` (folder, glob, ``gs://`` prefix).

    The dataset's bytes are a function of the images, their relative paths and ``config``. An
    interrupted build goes on where it stopped. ``workers`` are processes of the local engine; 0
    chooses. ``progress`` is called from another thread.

    Raises :class:`~srgan.errors.SrganError` in one line; nothing is published then.
    """
    started = time.monotonic()
    engine = choose_engine(runner, pipeline_args)
    listener = progress or ignore
    root = storage.absolute(root)
    files = _list(image_set, root)
    sources = _inventory(files, image_set, root, config, engine, listener)
    build_id = build_id_of(sources, config)
    dataset = storage.join(root, f"{config.name}-{build_id}")
    if _is_published(dataset):
        return _finished(dataset, started, already=True)
    check_group([source.name for source in sources], config)
    candidates, unread, copies = sort_out(sources, config)
    plans = shards.plan_shards(candidates, config)
    done = len(sources) - len(candidates)
    try:
        parts = _write_shards(dataset, plans, engine, workers, listener, done, len(sources))
    except Exception as error:
        if _is_published(dataset):
            return _finished(dataset, started, already=True, by_another=True)
        if isinstance(error, DatasetError):
            # Sources have changed: the next build has another id and would leave this one lying.
            storage.delete(dataset)
        raise
    rejected = all_rejects(parts, unread, candidates, copies)
    check_accounts(sources, parts, rejected)
    if len(rejected) == len(sources):
        storage.delete(dataset)
        raise DatasetError(_no_usable_image(image_set, rejected))
    listener(BuildProgress("publish", len(sources), len(sources), len(rejected)))
    mine = publish(dataset, build_id, config, sources, plans, parts, rejected)
    return _finished(dataset, started, already=not mine, by_another=not mine)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    from beam_jobs.command import run_command

    return run_command(argv, build)


def _list(image_set: str, root: str) -> list[StoredFile]:
    place = storage.absolute(image_set)
    if f"{root}/".startswith(f"{place}/"):
        raise StorageError(
            f"{root}: the output lies inside the image set {place}, "
            "so that the next build would read it; choose another place"
        )
    files = storage.list_files(place)
    if not files:
        raise DatasetError(f"{place}: no file in there; give a folder with images")
    return files


def _inventory(
    files: Sequence[StoredFile],
    image_set: str,
    root: str,
    config: DatasetConfig,
    engine: Engine,
    listener: Listener,
) -> list[Source]:
    # Named by the image set, so that the next build of it finds and removes what a kill left.
    name = hashlib.sha256(f"{storage.absolute(image_set)}\0{config.name}".encode()).hexdigest()
    folder = storage.join(root, f".inventory-{name[:12]}")

    def run(function: Callable[[str], None], listings: Sequence[str]) -> None:
        # Hashing is soon done; it would not pay for the start of processes.
        engine.run(function, listings, 1, "hash")

    def count(results: set[str]) -> BuildProgress:
        return BuildProgress("inventory", min(CHUNK * len(results), len(files)), len(files), 0)

    with watching(folder, HASHES, count, listener):
        sources = take_inventory(files, folder, run)
    storage.delete(folder)
    return sources


def _write_shards(
    dataset: str,
    plans: Sequence[ShardPlan],
    engine: Engine,
    workers: int,
    listener: Listener,
    done: int,
    total: int,
) -> list[Part]:
    by_name = {plan.name: plan for plan in plans}
    parts = _read_parts(dataset, plans)
    finished = {part.name: part for part in parts}
    missing = [plan for plan in plans if plan.name not in finished]
    for plan in missing:
        storage.delete(shards.part_place(dataset, plan.name))
        storage.write_bytes(shards.plan_place(dataset, plan.name), plan.to_bytes())

    def count(names: set[str]) -> BuildProgress:
        for name in names & (by_name.keys() - finished.keys()):
            part = shards.read_part(dataset, by_name[name])
            if part is not None:
                finished[name] = part
        pairs = sum(len(by_name[name].records) for name in finished)
        rejected = sum(len(part.rejected) for part in finished.values())
        return BuildProgress("pairs", done + pairs, total, done + rejected)

    to_decode = sum(len(plan.records) for plan in missing)
    with watching(storage.join(dataset, shards.PARTS), shards.PART, count, listener):
        places = [shards.plan_place(dataset, plan.name) for plan in missing]
        workers = _processes(workers, to_decode, len(missing))
        engine.run(shards.write_shard, places, workers, "write shards")
    parts = _read_parts(dataset, plans)
    if len(parts) != len(plans):
        raise DatasetError(
            f"{dataset}: {len(plans) - len(parts)} of {len(plans)} shards are missing after the "
            "build; somebody deletes files there; run the build again"
        )
    return parts


def _read_parts(dataset: str, plans: Sequence[ShardPlan]) -> list[Part]:
    """Parts of the plans whose shard is there in full length, in the order of the plans."""
    if not storage.exists(dataset):
        return []
    sizes = {file.name: file.size for file in storage.list_files(dataset)}
    parts = [shards.read_part(dataset, plan) for plan in plans]
    return [p for p in parts if p and (not p.keys or sizes.get(p.name) == p.size)]


def _processes(workers: int, images: int, count: int) -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if workers == 0:
        workers = (cpus or 1) if images >= _WORTH_PROCESSES else 1
    return max(1, min(workers, count))


def _is_published(dataset: str) -> bool:
    return storage.exists(storage.join(dataset, MANIFEST))


def _finished(
    dataset: str, started: float, *, already: bool, by_another: bool = False
) -> BuildResult:
    tidy(dataset)
    return BuildResult(open_dataset(dataset), already, time.monotonic() - started, by_another)


def _no_usable_image(image_set: str, rejected: Sequence[Reject]) -> str:
    reasons = Counter(reject.reason for reject in rejected).most_common()
    example = next(reject for reject in rejected if reject.reason == reasons[0][0])
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
    return (
        f"{image_set}: no usable image among {len(rejected)} files: {listed} "
        f"(such as {example.source}: {example.detail})"
    )


if __name__ == "__main__":
    sys.exit(main())
