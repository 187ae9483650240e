"""Image sets to an immutable dataset of LR/HR pairs.

    python -m beam_jobs.build_pairs --input photos --output datasets

Steps, each of which repeats nothing that is done:
1. list the image set and hash every file (Beam);
2. derive the build id; a dataset with it that has a manifest is finished already;
3. reject what need not be decoded: copies, oversized files, photos of excluded datasets;
4. decode the sources, unit by unit, to pairs (Beam);
5. drop duplicates, and near duplicates that would stand in two splits;
6. compose the shards of what is left (Beam);
7. check that every source is in a record or one reject; publish the manifest.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from beam_jobs import compose, units
from beam_jobs.duplicates import Fingerprint, find_duplicates
from beam_jobs.inventory import Source
from beam_jobs.pairs import check_group
from beam_jobs.places import check_apart
from beam_jobs.publish import Build, account, build_id_of, check_accounts, publish, tidy
from beam_jobs.runners import LOCAL, choose_engine
from beam_jobs.sorting import photos_of, sort_out
from beam_jobs.stages import Passes, read_parts
from beam_jobs.units import Part
from beam_jobs.watch import BuildProgress, ignore
from srgan import storage
from srgan.config import canonical_json
from srgan.dataset_config import DatasetConfig
from srgan.errors import DatasetError, SrganError, StorageError
from srgan.imageset import ImageFile, list_image_set
from srgan.records import MANIFEST, Dataset, Reject, open_dataset, read_record_infos

__all__ = ["BuildProgress", "BuildResult", "build", "main"]


@dataclass(frozen=True)
class _Order:
    """What is to be built, complete; ``model`` is the detector's for faces."""

    inputs: Sequence[str]
    config: DatasetConfig
    earlier: Sequence[Dataset]
    model: bytes | None


@dataclass(frozen=True)
class BuildResult:
    """``already_built``: nothing was done; ``by_another``: a builder beside us was first."""

    dataset: Dataset
    already_built: bool
    seconds: float
    by_another: bool = False


def build(
    image_set: str | Sequence[str],
    root: str,
    config: DatasetConfig,
    *,
    exclude: Sequence[str] = (),
    face_model: str | None = None,
    runner: str = LOCAL,
    workers: int = 0,
    pipeline_args: Sequence[str] = (),
    progress: Callable[[BuildProgress], None] | None = None,
) -> BuildResult:
    """Build ``<root>/<name>-<build id>`` from ``image_set``.

    That is one place or several: folders, globs, zip and tar files, ``gs://`` prefixes. Photos
    that the datasets ``exclude`` have are left out, and so is what looks like one of theirs in
    another split. ``face_model`` is the file or URL of YuNet for ``crop: faces``.

    The dataset's bytes are a function of the images, their relative paths, ``config`` and the
    excluded datasets. An interrupted build goes on where it stopped. ``workers`` are processes of
    the local engine; 0 chooses. ``progress`` is called from another thread.

    Raises :class:`~srgan.errors.SrganError` in one line; nothing is published then.
    """
    started = time.monotonic()
    inputs = [image_set] if isinstance(image_set, str) else list(image_set)
    root = storage.absolute(root)
    check_apart(inputs, root)
    engine = choose_engine(runner, pipeline_args, workers)
    engine.check([*inputs, root])
    passes = Passes(engine, workers, progress or ignore)
    config, model = _with_detector(config, face_model)
    order = _Order(inputs, config, [open_dataset(place) for place in exclude], model)
    try:
        return _build_once(order, root, passes, started)
    except _WorkLostError:
        # A builder of the same that has ended took along what both had in there.
        try:
            return _build_once(order, root, passes, started)
        except _WorkLostError as error:
            raise error.reason from None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    from beam_jobs.command import run_command

    return run_command(argv, build)


class _WorkLostError(Exception):
    """What was listed, or unpacked from an archive, is not there any more: hence ``reason``."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _build_once(order: _Order, root: str, passes: Passes, started: float) -> BuildResult:
    inputs, config = order.inputs, order.config
    work = storage.join(root, _work_name(inputs, config))
    spool = storage.join(work, "spool")
    files: list[ImageFile] = []
    try:
        files = list_image_set(inputs, spool=spool, max_bytes=config.max_bytes)
        if not files:
            raise DatasetError(f"{', '.join(inputs)}: no file in there; give a folder with images")
        sources = passes.hash_sources(files, work)
        build_id = build_id_of(sources, config, [dataset.digest for dataset in order.earlier])
        place = storage.join(root, f"{config.name}-{build_id}")
        if _is_published(place):
            return _finished(place, started, already=True)
        check_group(files, config)
        try:
            mine = _build(place, build_id, sources, order, passes)
        except Exception as error:
            if _is_published(place):
                return _finished(place, started, already=True, by_another=True)
            _check_work(files, work, error)
            if isinstance(error, DatasetError):
                # Sources have changed: the next build has another id and would leave this lying.
                storage.delete(place)
            raise
        return _finished(place, started, already=not mine, by_another=not mine)
    except SrganError as error:
        _check_work(files, work, error)
        raise
    finally:
        # What went wrong before is what a person has to hear of.
        with suppress(StorageError):
            storage.delete(work)


def _check_work(files: Sequence[ImageFile], work: str, reason: Exception) -> None:
    unpacked = {file.place for file in files if file.place.startswith(f"{work}/")}
    if not all(storage.exists(place) for place in (work, *unpacked)):
        raise _WorkLostError(reason) from None


def _build(
    place: str,
    build_id: str,
    sources: Sequence[Source],
    order: _Order,
    passes: Passes,
) -> bool:
    """Steps 3 to 7; whether it was this builder that published."""
    config, earlier = order.config, order.earlier
    found = sort_out(sources, config, photos_of(earlier))
    plans = units.plan_units(found.candidates, config)
    if order.model is not None and plans:
        storage.write_bytes(storage.join(place, units.PARTS, units.DETECTOR), order.model)
    unread = len(sources) - len(found.candidates)
    finished = passes.make_units(place, plans, unread, len(sources))
    del plans  # What they say of every source is in the parts.

    def parts() -> Iterable[Part]:
        return read_parts(place, finished)

    dropped = find_duplicates(
        _fingerprints(parts()), _earlier_fingerprints(earlier), config.near_duplicate_bits
    )
    used, rejected = account(found, parts(), dropped)
    check_accounts(sources, used, rejected)
    if not used:
        raise DatasetError(_no_usable_image(order.inputs, rejected))
    shards = compose.plan_shards(parts(), dropped, config)
    sha256s = passes.make_shards(place, shards)
    passes.listener(BuildProgress("publish", len(sources), len(sources), len(sources) - len(used)))
    digests = [dataset.digest for dataset in earlier]
    made = Build(place, build_id, config, digests, sources, shards, parts, dropped, used, rejected)
    return publish(made, sha256s)


def _fingerprints(parts: Iterable[Part]) -> list[Fingerprint]:
    return [
        Fingerprint(
            record.key,
            record.source,
            part.split,
            bytes.fromhex(record.pixels),
            bytes.fromhex(record.hash),
        )
        for part in parts
        for record in part.records
    ]


def _earlier_fingerprints(datasets: Sequence[Dataset]) -> list[Fingerprint]:
    """Without a digest of pixels: earlier datasets may have HR images of another size."""
    return [
        Fingerprint(info.key, info.source, info.split, b"", bytes.fromhex(info.hash))
        for dataset in datasets
        for info in read_record_infos(dataset)
    ]


def _with_detector(
    config: DatasetConfig, face_model: str | None
) -> tuple[DatasetConfig, bytes | None]:
    """The config with the detector that is really used, and the bytes of its model file."""
    if config.crop != "faces":
        if face_model is not None:
            raise DatasetError(f"face model {face_model} is for crop faces, not {config.crop}")
        return config, None
    from srgan.faces import find_model

    found = find_model(face_model, config.faces)
    faces = config.faces.model_copy(update={"detector": found.kind, "model_sha256": found.sha256})
    return config.model_copy(update={"faces": faces}), found.model


def _work_name(inputs: Sequence[str], config: DatasetConfig) -> str:
    # Named by what is built, so that the next build of it finds and removes what a kill left.
    places = sorted(storage.absolute(place) for place in inputs)
    tree = [places, config.model_dump(mode="json")]
    return f".inventory-{hashlib.sha256(canonical_json(tree)).hexdigest()[:12]}"


def _is_published(dataset: str) -> bool:
    return storage.exists(storage.join(dataset, MANIFEST))


def _finished(
    dataset: str, started: float, *, already: bool, by_another: bool = False
) -> BuildResult:
    found = open_dataset(dataset)
    tidy(found)
    return BuildResult(found, already, time.monotonic() - started, by_another)


def _no_usable_image(inputs: Sequence[str], rejected: Sequence[Reject]) -> str:
    reasons = Counter(reject.reason for reject in rejected).most_common()
    example = next(reject for reject in rejected if reject.reason == reasons[0][0])
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
    return (
        f"{', '.join(inputs)}: no usable image among {len(rejected)} files: {listed} "
        f"(such as {example.source}: {example.detail})"
    )


if __name__ == "__main__":
    sys.exit(main())
