"""Enlarge photos: a file or a folder of them, names kept, nothing lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from srgan import storage
from srgan.errors import ConfigError, ModelError, StorageError
from srgan.frozen import Frozen, Positive
from srgan.images import ImageRejectedError, resize, to_uint8, to_unit
from srgan.pictures import FORMATS, Picture, encode_picture, read_picture
from srgan.tiling import OVERLAP, TILE, Floats, TiledUpscaler


class UpscalingModel(Protocol):
    """What is needed of a model, see :class:`srgan.export.ExportedModel`."""

    @property
    def scale(self) -> int: ...

    def unit(self, batch: Floats, /) -> Floats: ...


class UpscaleOptions(Frozen):
    """How photos are enlarged."""

    tile: Positive = TILE
    overlap: int = OVERLAP
    suffix: str | None = None
    max_pixels: Positive = 50_000_000
    skip_existing: bool = False


@dataclass(frozen=True)
class UpscaleProgress:
    """Photos done and in total, and where the present one is."""

    done: int
    total: int
    name: str
    tile: int
    tiles: int


@dataclass(frozen=True)
class Failure:
    """A file that was not enlarged; ``reason`` is a fixed word, ``detail`` says more."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class UpscaleSummary:
    """What became of every file: ``done + skipped + len(failures)`` is how many there were."""

    done: int
    skipped: int
    failures: list[Failure]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 when every file was enlarged (or was there already), else 1."""
        return 1 if self.failures else 0


@dataclass(frozen=True)
class Job:
    """A photo to enlarge, from place to place; a ``problem`` says why it cannot be."""

    name: str
    source: str
    target: str
    problem: str | None = None


def upscale(
    source: str,
    target: str,
    model: UpscalingModel,
    options: UpscaleOptions | None = None,
    *,
    progress: Callable[[UpscaleProgress], None] | None = None,
) -> UpscaleSummary:
    """Enlarge the photo or all photos below ``source`` to ``target``.

    A file that cannot be used is reported in the summary and the others are done all the same.
    Raises :class:`ConfigError` when source and target do not fit together, :class:`StorageError`
    when ``source`` does not exist.
    """
    options = options or UpscaleOptions()
    started = time.perf_counter()
    jobs = plan(source, target, options)
    tiled = TiledUpscaler(model.unit, model.scale, tile=options.tile, overlap=options.overlap)
    done = skipped = 0
    failures: list[Failure] = []
    for index, job in enumerate(jobs):

        def report(tile: int, tiles: int, index: int = index, name: str = job.name) -> None:
            if progress is not None:
                progress(UpscaleProgress(index, len(jobs), name, tile, tiles))

        if job.problem is not None:
            failures.append(Failure(job.name, "not_written", job.problem))
        elif options.skip_existing and storage.exists(job.target):
            skipped += 1
        else:
            failure = _upscale_file(job, tiled, model.scale, options, report)
            if failure is None:
                done += 1
            else:
                failures.append(failure)
    if progress is not None:
        progress(UpscaleProgress(len(jobs), len(jobs), "", 0, 0))
    return UpscaleSummary(done, skipped, failures, time.perf_counter() - started)


def upscale_picture(
    picture: Picture,
    tiled: TiledUpscaler,
    scale: int,
    progress: Callable[[int, int], None] | None = None,
) -> Picture:
    """A picture ``scale`` times as wide and high: grey stays grey, transparency and profile stay.

    Colours come from the model, transparency is enlarged by bicubic interpolation.
    """
    height, width = picture.rgb.shape[:2]
    rgb = np.empty((height * scale, width * scale, 3), np.uint8)
    row = 0
    for strip in tiled.strips(to_unit(picture.rgb), progress):
        if picture.grey:
            # The three channels are equal but for the network's last digits.
            strip = strip.mean(axis=-1, keepdims=True)
        rgb[row : row + len(strip)] = to_uint8(strip)
        row += len(strip)
    alpha = picture.alpha
    if alpha is not None:
        # Not Lanczos: its outer lobes would draw a faint ghost around what was cut out.
        alpha = resize(alpha, width * scale, height * scale)
    return Picture(rgb, alpha, picture.grey, picture.icc, picture.exif)


def plan(source: str, target: str, options: UpscaleOptions) -> list[Job]:
    """Which file goes where: OUT's suffix decides on the format, else the file's own.

    Formats that are read but not written become PNG.
    """
    suffix = _checked_suffix(options.suffix)
    source, folder_asked = storage.absolute(source), target.endswith("/")
    target = storage.absolute(target)
    files = storage.list_files(source)
    if len(files) == 1 and files[0].place == source:
        [file] = files
        return _checked([_single(file, target, suffix, folder_asked)], files)
    local = storage.local_path(target)
    if local is not None and local.is_file():
        raise ConfigError(f"{target}: is a file, but {source} is a folder; give a folder to write")
    if source == target:
        raise ConfigError(f"{target}: would overwrite its own photos; give another folder")
    # A folder of results within the photos holds no photos.
    files = [
        file
        for file in files
        if not file.place.startswith(f"{target}/") and PurePosixPath(file.name).name[0] != "."
    ]
    if not files:
        raise ConfigError(f"{source}: no files to enlarge")
    jobs = [Job(f.name, f.place, storage.join(target, _named(f.name, suffix))) for f in files]
    return _checked(jobs, files)


def _single(file: storage.StoredFile, target: str, suffix: str | None, folder_asked: bool) -> Job:
    local = storage.local_path(target)
    if folder_asked or (local is not None and local.is_dir()):
        return Job(file.name, file.place, storage.join(target, _named(file.name, suffix)))
    if suffix is not None:
        target = target.removesuffix(PurePosixPath(target).suffix) + suffix
    elif PurePosixPath(target).suffix.lower() not in FORMATS:
        raise ConfigError(
            f"{target}: no picture format; end it in {', '.join(FORMATS)}, or in / for a folder"
        )
    return Job(file.name, file.place, target)


def _checked(jobs: Sequence[Job], files: Sequence[storage.StoredFile]) -> list[Job]:
    """Jobs that would overwrite a photo that is read, or each other's results, get a problem."""
    inputs = {_identity(file.place) for file in files}
    taken: dict[str, str] = {}
    checked = []
    for job in jobs:
        identity = _identity(job.target)
        if identity in inputs:
            problem = f"{job.target}: would overwrite a photo that is read; write elsewhere"
            job = Job(job.name, job.source, job.target, problem)
        elif identity in taken:
            problem = f"{job.target}: {taken[identity]} is written there already; rename one"
            job = Job(job.name, job.source, job.target, problem)
        else:
            taken[identity] = job.name
        checked.append(job)
    return checked


def _upscale_file(
    job: Job,
    tiled: TiledUpscaler,
    scale: int,
    options: UpscaleOptions,
    progress: Callable[[int, int], None],
) -> Failure | None:
    try:
        picture = read_picture(storage.read_bytes(job.source), max_pixels=options.max_pixels)
        larger = upscale_picture(picture, tiled, scale, progress)
        data = encode_picture(larger, PurePosixPath(job.target).suffix)
    except ImageRejectedError as error:
        return Failure(job.name, error.reason, error.detail)
    except StorageError as error:
        return Failure(job.name, "not_readable", str(error))
    except (MemoryError, ModelError) as error:
        return Failure(job.name, "out_of_memory", str(error) or "the result does not fit")
    except (OSError, ValueError) as error:
        return Failure(job.name, "not_encodable", " ".join(str(error).split()))
    try:
        storage.write_bytes(job.target, data)
    except StorageError as error:
        return Failure(job.name, "not_written", str(error))
    return None


def _named(name: str, suffix: str | None) -> str:
    own = PurePosixPath(name).suffix
    wanted = suffix or (own if own.lower() in FORMATS else ".png")
    return name if wanted == own else str(PurePosixPath(name).with_suffix(wanted))


def _checked_suffix(suffix: str | None) -> str | None:
    if suffix is None:
        return None
    dotted = f".{suffix.lower().lstrip('.')}"
    if dotted not in FORMATS:
        raise ConfigError(f"suffix {suffix!r}: no picture format; use {', '.join(FORMATS)}")
    return dotted


def _identity(place: str) -> str:
    """Two places with the same identity are the same file, through links, too."""
    path = storage.local_path(place)
    return place if path is None else str(Path(path).resolve())
