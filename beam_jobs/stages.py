"""The three passes that Beam makes over an image set, each with its progress and its resume."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from beam_jobs import compose, units
from beam_jobs.compose import ShardPlan
from beam_jobs.inventory import CHUNK, HASHES, Source, take_inventory
from beam_jobs.runners import Engine
from beam_jobs.units import Part, UnitPlan
from beam_jobs.watch import BuildProgress, Listener, watching
from srgan import storage
from srgan.dataset_config import DatasetConfig
from srgan.errors import StorageError
from srgan.imageset import ImageFile

# Below so many images, worker processes cost more time to start than they save.
_WORTH_PROCESSES = 1500
# So much more work is an image that is searched for faces, or degraded twice over, or cut up.
_HEAVY = 10


@dataclass(frozen=True)
class Passes:
    """The engine that makes the passes; ``workers`` are its processes, 0 chooses."""

    engine: Engine
    workers: int
    listener: Listener

    def hash_sources(self, files: Sequence[ImageFile], work: str) -> list[Source]:
        """Every file with its sha256; ``work`` is a folder for what passes between workers."""

        def run(function: Callable[[str], None], listings: Sequence[str]) -> None:
            # Hashing is soon done; it would not pay for the start of processes.
            self.engine.run(function, listings, 1, "hash")

        def count(results: set[str]) -> BuildProgress:
            done = min(CHUNK * len(results), len(files))
            return BuildProgress("inventory", done, len(files), 0)

        with watching(work, HASHES, count, self.listener):
            return take_inventory(files, work, run)

    def make_units(
        self, dataset: str, plans: Sequence[UnitPlan], rejected: int, total: int
    ) -> dict[str, str]:
        """Write the units that are missing; the fingerprint of each by its name, in order.

        ``rejected`` of ``total`` sources are not in the plans.
        """
        sizes = {plan.name: len(plan.sources) for plan in plans}
        fingerprints = {plan.name: plan.fingerprint for plan in plans}
        counts = _finished_units(dataset, fingerprints)
        missing = [plan for plan in plans if plan.name not in counts]
        for plan in missing:
            storage.delete(units.part_place(dataset, plan.name))
            place = units.plan_place(dataset, plan.name)
            storage.write_bytes(place, plan.to_bytes(), durable=False)

        def count(names: set[str]) -> BuildProgress:
            for name in names & (sizes.keys() - counts.keys()):
                part = units.read_part(dataset, name, fingerprints[name])
                if part is not None:
                    counts[name] = _refused(part)
            done = sum(sizes[name] for name in counts)
            return BuildProgress("pairs", rejected + done, total, rejected + sum(counts.values()))

        places = [units.plan_place(dataset, plan.name) for plan in missing]
        images = sum(len(plan.sources) for plan in missing)
        workers = self._processes(images * _weight(plans), len(missing))
        with watching(storage.join(dataset, units.PARTS), units.PART, count, self.listener):
            self.engine.run(units.write_unit, places, workers, "make pairs")
        # The watcher has looked at each as it appeared; one that it missed is looked for here.
        unseen = {n: fingerprint for n, fingerprint in fingerprints.items() if n not in counts}
        left = len(unseen) - len(_finished_units(dataset, unseen)) if unseen else 0
        if left:
            raise _lost(dataset, left, len(plans), "units")
        return fingerprints

    def make_shards(self, dataset: str, plans: Sequence[ShardPlan]) -> list[str]:
        """Write the shards that are missing; the sha256 of each."""
        by_name = {plan.name: plan for plan in plans}
        total = sum(plan.records for plan in plans)
        missing = [plan for plan in plans if not _is_whole(dataset, plan)]
        done = {plan.name for plan in plans} - {plan.name for plan in missing}
        for plan in missing:
            storage.delete(compose.done_place(dataset, plan.name))
            place = compose.plan_place(dataset, plan.name)
            storage.write_bytes(place, plan.to_bytes(), durable=False)

        def count(names: set[str]) -> BuildProgress:
            finished = sum(by_name[n].records for n in (names & by_name.keys()) | done)
            return BuildProgress("shards", finished, total, 0)

        places = [compose.plan_place(dataset, plan.name) for plan in missing]
        with watching(storage.join(dataset, units.PARTS), compose.DONE, count, self.listener):
            # Copying is bound by the disk.
            self.engine.run(compose.write_shard, places, 1, "compose shards")
        sha256s = [compose.finished_sha256(dataset, plan) for plan in plans]
        found = [sha256 for sha256 in sha256s if sha256 is not None]
        if len(found) != len(plans):
            raise _lost(dataset, len(plans) - len(found), len(plans), "shards")
        return found

    def _processes(self, work: int, count: int) -> int:
        workers = self.workers
        if workers == 0:
            workers = _cpus() if work >= _WORTH_PROCESSES else 1
        return max(1, min(workers, count))


def read_parts(dataset: str, fingerprints: Mapping[str, str]) -> Iterator[Part]:
    """The parts of finished units one after another, by name and fingerprint, in that order."""
    for name, fingerprint in fingerprints.items():
        part = units.read_part(dataset, name, fingerprint)
        if part is None:
            raise _lost(dataset, 1, len(fingerprints), "units")
        yield part


def _finished_units(dataset: str, fingerprints: Mapping[str, str]) -> dict[str, int]:
    """Names of the units whose frames are there in full length, and how many they reject."""
    folder = storage.join(dataset, units.PARTS)
    if not storage.exists(folder):
        return {}
    sizes = {file.place: file.size for file in storage.list_files(folder)}
    found = {}
    for name, fingerprint in fingerprints.items():
        if units.part_place(dataset, name) in sizes:
            part = units.read_part(dataset, name, fingerprint)
            if part and sizes.get(units.frames_place(dataset, name)) == part.size:
                found[name] = _refused(part)
    return found


def _is_whole(dataset: str, plan: ShardPlan) -> bool:
    """Whether an interrupted build has left the shard, and nobody has touched it since."""
    sha256, place = compose.finished_sha256(dataset, plan), storage.join(dataset, plan.name)
    if sha256 is None:
        return False
    # An object on GCS does not change; to read it all again would take its time.
    return storage.local_path(place) is None or storage.sha256_of(place) == sha256


def _refused(part: Part) -> int:
    return sum(1 for reject in part.rejected if reject.crop is None)


def _weight(plans: Sequence[UnitPlan]) -> int:
    return max((weight_of(plan.config) for plan in plans), default=1)


def weight_of(config: DatasetConfig) -> int:
    """How much work an image is, roughly, compared with a central crop and bicubic LR."""
    heavy = config.crop in ("faces", "tiles") or config.degradation == "realistic"
    return _HEAVY if heavy else 1


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lost(dataset: str, count: int, total: int, what: str) -> StorageError:
    return StorageError(
        f"{dataset}: {count} of {total} {what} are missing after they were written; "
        "somebody deletes files there; run the build again"
    )
