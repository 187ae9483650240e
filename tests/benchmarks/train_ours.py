"""One process of bench_train: this project's step, plain Keras ``fit``, its parts, or a long run.

    python -m tests.benchmarks.train_ours '<job as JSON>'

Prints one line of JSON. The step is the one that `srgan train` makes: ``make_step`` on a
distributed batch under the strategy of the settings, its losses read after every step.
"""

from __future__ import annotations

import inspect
import json
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srgan.clock import StepClock
from srgan.config import RunConfig
from srgan.data import BatchRecipe, PairSource, distributed, training_batches
from srgan.devices import make_deterministic, make_strategy, uses_xla
from srgan.losses import build_content_loss
from srgan.networks.generator import build_generator
from srgan.networks.layers import ImageConv2D, PReLU
from srgan.networks.norm import BatchNorm
from srgan.records import open_dataset
from srgan.state import create_state
from srgan.step import make_step
from srgan.training_config import StageConfig
from srgan.workers import Workers

Job = dict[str, Any]
Step = Callable[[Any, Any, int, float], Any]
_KERAS_OWN = {
    PReLU: keras.layers.PReLU,
    BatchNorm: keras.layers.BatchNormalization,
    ImageConv2D: keras.layers.Conv2D,
}


def main() -> None:
    job: Job = json.loads(sys.argv[1])
    make_deterministic(RunConfig.model_validate(job["config"]).trainer)
    if job["precision"] != "float32":
        keras.mixed_precision.set_dtype_policy(f"mixed_{job['precision']}")
    task = {"ours": ours, "keras": keras_fit, "parts": parts, "long": long_run}[job["task"]]
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    answer = {
        **task(job),
        "version": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "device": details.get("device_name", "GPU" if gpus else "CPU"),
    }
    print(json.dumps(answer))


def ours(job: Job) -> Job:
    step, batches, _ = prepare(job)
    return {"seconds": timed(lambda: run(step, *next(batches)), job)}


def keras_fit(job: Job) -> Job:
    """``fit`` of the same generator made of Keras' own layers, with Adam and the same clipping."""
    config, stage = settings(job)
    model = keras.models.clone_model(build_generator(config.generator), clone_function=_plain)
    loss = {"mse": "mse", "l1": "mae"}[next(iter(stage.content))]
    model.compile(keras.optimizers.Adam(1e-4, global_clipnorm=1.0), loss)
    seconds: list[float] = []

    class Stopwatch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.started)

    lr, hr = random_batch(config, stage)
    data = tf.data.Dataset.from_tensors((lr, hr)).repeat(job["warmup"] + job["steps"])
    model.fit(data, verbose=0, callbacks=[Stopwatch()])
    return {"seconds": seconds[job["warmup"] :]}


def parts(job: Job) -> Job:
    """What of a step is convolution, and how near that is to what the device can multiply.

    Every convolution of the step's graph, forward and both backward, is timed by itself.
    """
    step, batches, _ = prepare(job)
    batch = next(batches)
    whole = timed(lambda: run(step, *batch), job)
    graph = (
        inspect.getclosurevars(step)
        .nonlocals["compiled"]
        .get_concrete_function(*batch, tf.constant(0.9), tf.constant(1e-3), False)
    )
    needed = _needed(graph.graph)
    kinds = Counter(filter(None, map(_convolution, needed)))
    seconds = flops = 0.0
    for kind, count in kinds.items():
        one = _time_convolution(*kind)
        seconds += one * count
        flops += _flops(*kind) * count
    return {
        "seconds": whole,
        "convolutions": {"count": kinds.total(), "seconds": seconds, "flops": flops},
        "products": {"flops": sum(map(_product_flops, needed))},
        "peak": peak_flops(tf.as_dtype(job["precision"])),
    }


def long_run(job: Job) -> Job:
    """Real shards: input wait of all steps, and this process's memory on the way, in bytes."""
    step, _, strategy = prepare(job)
    config, stage = settings(job)
    dataset = open_dataset(job["dataset"])
    source = PairSource([dataset], "train", cache=Path(job["dataset"]) / "cache")
    recipe = BatchRecipe(stage.batch, stage.hr_crop, config.generator.scale, True, False, 1)
    batches = distributed(strategy, range(1), training_batches(source, 0, recipe))
    clock, waits, memory = StepClock(stage.batch), [], {}
    for done in range(1, job["steps"] + 1):
        run(step, *clock.wait_for(batches))
        clock.tick()
        waits.append(clock.input_wait())
        if done % (job["steps"] // 10) == 0:
            memory[done] = _resident()
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "input_wait": statistics.mean(waits[len(waits) // 10 :]),
        "memory": memory,
        "highest": highest,
        "photos": len(source),
    }


def prepare(job: Job) -> tuple[Step, Iterator[Any], tf.distribute.Strategy]:
    config, stage = settings(job)
    content = build_content_loss(stage, config.perceptual)
    strategy = make_strategy(config.trainer, Workers())
    state = create_state(config, strategy)
    xla = uses_xla(config.trainer, strategy.num_replicas_in_sync)
    step = make_step(state, stage, content, xla=xla)
    replicas = range(strategy.num_replicas_in_sync)
    lr, hr = random_batch(config, stage)
    same = distributed(strategy, replicas, iter([(lr, hr)]))
    batch = next(same)
    return step, iter(lambda: batch, None), strategy


def settings(job: Job) -> tuple[RunConfig, StageConfig]:
    config = RunConfig.model_validate(job["config"])
    return config, config.gan if job["network"] == "gan" else config.pretrain


def random_batch(config: RunConfig, stage: StageConfig) -> tuple[np.ndarray, np.ndarray]:
    rng, size, channels = np.random.default_rng(0), stage.hr_crop, config.generator.channels
    small = size // config.generator.scale
    lr = rng.random((stage.batch, small, small, channels), dtype=np.float32)
    hr = rng.random((stage.batch, size, size, channels), dtype=np.float32)
    return lr, hr * 2 - 1


def run(step: Step, lr: Any, hr: Any) -> float:
    return float(step(lr, hr, 5, 0.999)["g/total"])


def timed(call: Callable[[], Any], job: Job) -> list[float]:
    for _ in range(job["warmup"]):
        call()
    seconds = []
    for _ in range(job["steps"]):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def peak_flops(dtype: tf.DType) -> float:
    """Multiplications and additions a second in the device's best case: a product of matrices."""
    side = 8192 if tf.config.list_physical_devices("GPU") else 2048
    matrix = tf.cast(tf.random.normal((side, side)), dtype)
    product = tf.function(lambda: tf.reduce_max(tf.matmul(matrix, matrix)))
    return 2 * side**3 / min(timed(lambda: product().numpy(), {"warmup": 2, "steps": 8}))


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    return _KERAS_OWN.get(type(layer), type(layer)).from_config(layer.get_config())


def _needed(graph: Any) -> set[tf.Operation]:
    """Operations that the function's results depend on; the others are never run."""
    found: set[tf.Operation] = set()
    left = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while left:
        operation = left.pop()
        if operation not in found:
            found.add(operation)
            left += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return found


# (operation, shape of x, shape of the kernel, shape of y, stride, type)
Convolution = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], int, str]


def _convolution(operation: tf.Operation) -> Convolution | None:
    """The shapes of a convolution of the graph; None for every other operation."""
    if operation.type not in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
        return None
    given = [tuple(tensor.shape) for tensor in operation.inputs]
    out = tuple(operation.outputs[0].shape)
    x, kernel, y = {
        "Conv2D": lambda: (given[0], given[1], out),
        "Conv2DBackpropInput": lambda: (out, given[1], given[2]),
        "Conv2DBackpropFilter": lambda: (given[0], out, given[2]),
    }[operation.type]()
    if None in (*x, *kernel, *y):
        raise SystemExit(f"{operation.name}: its shapes are not known: {x}, {kernel}, {y}")
    stride = operation.get_attr("strides")[1]
    return operation.type, x, kernel, y, stride, operation.outputs[0].dtype.name


def _time_convolution(
    kind: str,
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    y: tuple[int, ...],
    stride: int,
    dtype: str,
) -> float:
    a, k, b = (tf.cast(tf.random.normal(shape), dtype) for shape in (x, kernel, y))
    strides = [1, stride, stride, 1]

    @tf.function
    def call() -> Any:
        if kind == "Conv2D":
            out = tf.nn.conv2d(a, k, strides, "SAME")
        elif kind == "Conv2DBackpropInput":
            out = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=x, filter=k, out_backprop=b, strides=strides, padding="SAME"
            )
        else:
            out = tf.raw_ops.Conv2DBackpropFilter(
                input=a, filter_sizes=kernel, out_backprop=b, strides=strides, padding="SAME"
            )
        return tf.reshape(out, [-1])[0]

    return statistics.median(timed(lambda: call().numpy(), {"warmup": 2, "steps": 7}))


def _flops(
    kind: str, x: tuple[int, ...], kernel: tuple[int, ...], y: tuple[int, ...], *_: Any
) -> float:
    del kind, x
    return 2.0 * np.prod(kernel) * np.prod(y[:3])


def _product_flops(operation: tf.Operation) -> float:
    """Of a product of matrices: dense layers, sums, the fast convolutions of VGG; 0 of others."""
    if operation.type not in ("MatMul", "BatchMatMulV2"):
        return 0.0
    turned = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    inner = operation.inputs[0].shape[-2 if turned else -1]
    return 2.0 * np.prod(operation.outputs[0].shape) * inner


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
