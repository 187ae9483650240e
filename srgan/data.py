"""Training input: the batch of step *n* is a pure function of (datasets, seed, *n*).

So a continued run sees the very batches that an uninterrupted one sees, and each of several
machines can prepare its own rows alone. Records are found by their offset in the shards, decoded
once and kept in memory while they fit.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srgan import storage
from srgan.errors import DatasetError
from srgan.images import Pixels, decode, to_unit
from srgan.records import (
    Dataset,
    ShardInfo,
    Split,
    decode_example,
    frame_spans,
    read_record_infos,
    verify_shard,
)

if TYPE_CHECKING:
    import tensorflow as tf

Floats = NDArray[np.float32]
_NO_LIMIT = 1 << 62
# Batches that are ready or in work while a step runs.
_AHEAD, _THREADS = 4, 2


@dataclass(frozen=True)
class Pair:
    """A decoded record: uint8 RGB ``lr [h, w, 3]`` and ``hr [s*h, s*w, 3]``."""

    key: str
    source: str
    lr: Pixels
    hr: Pixels


class PairSource:
    """Random access to the records of one split of several datasets, in a fixed order.

    Shards are compared with their sha256 once, when this is made; remote ones are copied to
    ``cache``. Decoded pairs stay in memory up to ``memory`` bytes, later ones are decoded anew.

    A photo that another dataset holds out for validation or test is left out of training, and one
    that is held out for the test out of validation; so is a photo of the same group, which other
    settings may have put into another split there. ``left_out`` counts them.
    """

    def __init__(
        self, datasets: Sequence[Dataset], split: Split, *, cache: Path, memory: int = 4 << 30
    ) -> None:
        self._spans: list[tuple[Path, int, int]] = []
        self.left_out = 0
        held_out = _held_out(datasets, split)
        for dataset in datasets:
            names = _names(dataset) if held_out else {}
            for shard in dataset.shards(split):
                path = _verified_shard(dataset, shard, cache)
                with path.open("rb") as stream:
                    spans = [(path, *span) for span in frame_spans(stream)]
                if held_out:
                    named = zip(spans, names[shard.name], strict=True)
                    kept = [span for span, name in named if held_out.isdisjoint(name)]
                    self.left_out += len(spans) - len(kept)
                    spans = kept
                self._spans += spans
        if not self._spans:
            places = ", ".join(dataset.place for dataset in datasets)
            raise DatasetError(
                f"{places}: the {split} split is empty; build from more images, or raise "
                f"--{split}-fraction"
                if split != "train"
                else f"{places}: the train split is empty; build from more images"
            )
        self._memory = memory
        self._pairs: dict[int, Pair] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> Pair:
        kept = self._pairs.get(index)
        if kept is not None:
            return kept
        path, offset, length = self._spans[index]
        with path.open("rb") as stream:
            stream.seek(offset)
            record = decode_example(stream.read(length))
        pair = Pair(
            record.key,
            record.source,
            decode(record.lr, max_pixels=_NO_LIMIT),
            decode(record.hr, max_pixels=_NO_LIMIT),
        )
        with self._lock:
            size = pair.hr.nbytes + pair.lr.nbytes
            if index not in self._pairs and size <= self._memory:
                self._memory -= size
                self._pairs[index] = pair
        return pair

    def first(self, count: int) -> list[Pair]:
        """The first ``count`` pairs (fewer where there are fewer)."""
        return [self[index] for index in range(min(count, len(self)))]


def _verified_shard(dataset: Dataset, shard: ShardInfo, cache: Path) -> Path:
    """A local file whose bytes have the shard's sha256; a remote one crosses the network once."""
    place = storage.join(dataset.place, shard.name)
    if storage.local_path(place) is not None:
        verify_shard(dataset, shard)
        return storage.local_copy(place, shard.sha256, cache)
    path = storage.local_copy(place, shard.sha256, cache)
    if storage.sha256_of(str(path)) != shard.sha256:
        # It was whole when it was put there; since then the disk or somebody has changed it.
        storage.delete(str(path))
        path = storage.local_copy(place, shard.sha256, cache)
    return path


def _held_out(datasets: Sequence[Dataset], split: Split) -> set[str]:
    """sha256 and groups of the photos that some of several datasets hold out from ``split``."""
    if len(datasets) < 2 or split == "test":
        return set()
    from_split = ("val", "test") if split == "train" else ("test",)
    return {
        name
        for dataset in datasets
        for info in read_record_infos(dataset)
        if info.split in from_split
        for name in (info.sha256, info.group)
    }


def _names(dataset: Dataset) -> dict[str, list[tuple[str, str]]]:
    """sha256 and group of the photos of each shard, in the order of its records."""
    names: dict[str, list[tuple[str, str]]] = {}
    for info in read_record_infos(dataset):
        names.setdefault(info.shard, []).append((info.sha256, info.group))
    return names


@dataclass(frozen=True)
class BatchRecipe:
    """How the batches of a stage are cut from the records.

    ``attempt`` numbers the returns to an earlier checkpoint: each sees other batches, or what one
    of them did would be done again.
    """

    batch: int
    hr_crop: int
    scale: int
    flip: bool
    rotate: bool
    seed: int
    attempt: int = 0

    @property
    def stream(self) -> tuple[int, int]:
        return (self.seed, self.attempt)


def sample_indices(step: int, recipe: BatchRecipe, size: int) -> list[int]:
    """Which of ``size`` records make up the batch of ``step``.

    The stream of all batches is one shuffle of the records after another, each another one.
    """
    indices = []
    for position in range(step * recipe.batch, (step + 1) * recipe.batch):
        epoch, place = divmod(position, size)
        indices.append(int(_permutation(size, recipe.stream, epoch)[place]))
    return indices


def make_batch(
    source: PairSource, step: int, recipe: BatchRecipe, rows: range | None = None
) -> tuple[Pixels, Pixels]:
    """Random crops for ``step``: uint8 ``lr [N, c/s, c/s, 3]`` and ``hr [N, c, c, 3]``.

    ``rows`` asks for some of the batch's rows; they are the same ones as in the whole batch.
    """
    rows = range(recipe.batch) if rows is None else rows
    indices = sample_indices(step, recipe, len(source))
    crops = [_crop(source[indices[row]], step, row, recipe) for row in rows]
    return np.stack([lr for lr, _ in crops]), np.stack([hr for _, hr in crops])


def _crop(pair: Pair, step: int, row: int, recipe: BatchRecipe) -> tuple[Pixels, Pixels]:
    """One random crop, mirrored and turned as the recipe says, LR and HR alike.

    The LR crop's corner is drawn on the LR grid, so both crops show the same part of the face.
    """
    rng = np.random.default_rng((*recipe.stream, step, row))
    height, width = pair.lr.shape[:2]
    scale, side = recipe.scale, recipe.hr_crop // recipe.scale
    if side > min(height, width):
        raise DatasetError(
            f"hr_crop {recipe.hr_crop} is larger than the images of the dataset "
            f"({width * scale}x{height * scale}); use at most {min(height, width) * scale}"
        )
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    lr = pair.lr[top : top + side, left : left + side]
    top, left = top * scale, left * scale
    hr = pair.hr[top : top + recipe.hr_crop, left : left + recipe.hr_crop]
    # Drawn whether they are used or not, so that a switch changes nothing but what it names.
    mirrored, turns = rng.random() < 0.5, int(rng.integers(4))
    if recipe.flip and mirrored:
        lr, hr = lr[:, ::-1], hr[:, ::-1]
    if recipe.rotate:
        lr, hr = np.rot90(lr, turns), np.rot90(hr, turns)
    return lr, hr


def training_batches(
    source: PairSource, first_step: int, recipe: BatchRecipe, rows: range | None = None
) -> Iterator[tuple[Floats, Floats]]:
    """Endless batches from ``first_step`` on: (lr in [0, 1], hr in [-1, 1]) float32.

    Prepared some steps ahead by threads: decoding and copying let go of the interpreter's lock.
    No tf.data: what it would add here is a fixed order of random crops, which a batch that is a
    function of its step has anyway, and the end of its iterators was seen to wait for minutes.
    """

    def prepare(step: int) -> tuple[Floats, Floats]:
        lr, hr = make_batch(source, step, recipe, rows)
        return to_unit(lr), hr.astype(np.float32) / np.float32(127.5) - np.float32(1)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="input") as pool:
        ahead = deque(pool.submit(prepare, first_step + i) for i in range(_AHEAD))
        for step in itertools.count(first_step + _AHEAD):
            ready = ahead.popleft()
            ahead.append(pool.submit(prepare, step))
            yield ready.result()


def distributed(
    strategy: tf.distribute.Strategy, replicas: range, batches: Iterator[tuple[Floats, Floats]]
) -> Iterator[Any]:
    """This process's rows as values for ``replicas``, the ones that it runs, in equal parts."""
    import tensorflow as tf

    def part(array: Floats, context: Any) -> Any:
        rows = len(array) // len(replicas)
        index = replicas.index(context.replica_id_in_sync_group)
        return tf.constant(array[index * rows : (index + 1) * rows])

    for batch in batches:
        yield tuple(
            strategy.experimental_distribute_values_from_function(functools.partial(part, array))
            for array in batch
        )


def batches_of_equal_shape(pairs: Sequence[Pair], size: int) -> Iterator[list[Pair]]:
    """Groups of at most ``size`` neighbours whose LR images have the same shape."""
    group: list[Pair] = []
    for pair in pairs:
        if group and (len(group) == size or group[0].lr.shape != pair.lr.shape):
            yield group
            group = []
        group.append(pair)
    if group:
        yield group


@functools.lru_cache(maxsize=4)
def _permutation(size: int, stream: tuple[int, int], epoch: int) -> Any:
    return np.random.default_rng((*stream, epoch)).permutation(size)
