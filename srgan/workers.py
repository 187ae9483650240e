"""Several machines that train one run: who leads, who does which rows, and what all agree on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import TrainingError

if TYPE_CHECKING:
    import tensorflow as tf

_VARIABLE = "TF_CONFIG"


class Workers:
    """The processes of a run as ``TF_CONFIG`` lists them; without it, this process alone.

    Worker 0 (or the task ``chief``) is the chief: it alone writes the run's folder and MLflow, and
    what it says counts. All workers must call :meth:`share` and :meth:`any` at the same points.
    """

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index = index
        self.count = count
        self._strategy: tf.distribute.Strategy | None = None

    @classmethod
    def from_environment(cls) -> Workers:
        """Raises :class:`TrainingError` when ``TF_CONFIG`` is not what TensorFlow expects."""
        text = os.environ.get(_VARIABLE, "")
        if not text:
            return cls()
        try:
            tree = json.loads(text)
            cluster = tree.get("cluster", {})
            kinds = ("chief", "worker")
            order = [(kind, i) for kind in kinds for i in range(len(cluster.get(kind, [])))]
            if not set(cluster) <= set(kinds):
                raise ValueError(f"has tasks {sorted(cluster)}; only chief and worker train")
            if len(order) < 2:
                return cls()
            task = tree["task"]
            return cls(order.index((task["type"], int(task["index"]))), len(order))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f'{_VARIABLE}: {error}; expected {{"cluster": {{"worker": ["host:port", …]}}, '
                '"task": {"type": "worker", "index": 0}}'
            ) from None

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    @property
    def alone(self) -> bool:
        return self.count == 1

    def join(self, strategy: tf.distribute.Strategy) -> None:
        """From here on the workers talk through ``strategy``, which spans them all."""
        self._strategy = strategy

    def replicas(self, strategy: tf.distribute.Strategy) -> range:
        """Those of the strategy's replicas that this process runs."""
        here = strategy.num_replicas_in_sync // self.count
        return range(self.index * here, (self.index + 1) * here)

    def rows(self, batch: int) -> range:
        """The rows of a global batch that this process prepares."""
        here = batch // self.count
        return range(self.index * here, (self.index + 1) * here)

    def any(self, flag: bool) -> bool:
        """Whether any worker says so."""
        return flag if self.alone else bool(self._sum(np.array([flag], np.float32))[0] > 0)

    def share(self, data: bytes) -> bytes:
        """The chief's ``data``, to every worker."""
        if self.alone:
            return data
        mine = data if self.is_chief else b""
        size = int(self._sum(_words(len(mine).to_bytes(8, "little"))).astype("<u2").view("<u8")[0])
        if not size:
            # TensorFlow's collectives crash the process when there is nothing to add up.
            return b""
        padded = mine.ljust(size + size % 2, b"\0") if self.is_chief else bytes(size + size % 2)
        return self._sum(_words(padded)).astype("<u2").tobytes()[:size]

    def _sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Elementwise over all workers."""
        import tensorflow as tf

        strategy = self._strategy
        assert strategy is not None
        first = self.replicas(strategy)[0]

        def part(context: Any) -> Any:
            mine = context.replica_id_in_sync_group == first
            return tf.constant(values if mine else np.zeros_like(values))

        parts = strategy.experimental_distribute_values_from_function(part)
        return np.asarray(strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None))


def _words(data: bytes) -> NDArray[np.float32]:
    """Pairs of bytes as floats: every device adds those, and up to 2^24 they are exact."""
    return np.frombuffer(data, "<u2").astype(np.float32)


@contextmanager
def lost_workers_reported(workers: Workers) -> Iterator[None]:
    """One line where another worker has gone; restarted together, all continue."""
    if workers.alone:
        yield
        return
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
    ) as error:
        reason = " ".join(str(error.message).split())[:160]
        raise TrainingError(
            f"worker {workers.index} of {workers.count}: another worker cannot be reached "
            f"({reason}); start all of them again, and the run goes on from its last checkpoint"
        ) from None
