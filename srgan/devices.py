"""Which devices train, in which precision, and how their operations are made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import TrainingError
from srgan.training_config import TrainerConfig
from srgan.workers import Workers

if TYPE_CHECKING:
    import tensorflow as tf


def make_strategy(config: TrainerConfig, workers: Workers) -> tf.distribute.Strategy:
    """Over every visible GPU, else over the CPU, or the logical CPU devices asked for.

    With several workers over all their GPUs, or one CPU each; that must come before anything else
    in the process uses TensorFlow. Raises :class:`TrainingError` when it is too late for that, or
    for logical devices.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Without it TensorFlow takes all memory and a second process on the machine gets none.
        tf.config.experimental.set_memory_growth(gpu, True)
    if not workers.alone:
        return _multi_worker(config, workers)
    if config.cpu_devices:
        return tf.distribute.MirroredStrategy(_logical_cpus(config.cpu_devices))
    if gpus:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy(["CPU:0"])


def check_batch(name: str, batch: int, replicas: int) -> None:
    """The global batch is what the settings say; it must be divisible among the replicas."""
    if batch % replicas:
        raise TrainingError(
            f"{name} {batch} cannot be divided among {replicas} devices; use a multiple of "
            f"{replicas}"
        )


def uses_xla(config: TrainerConfig, replicas: int) -> bool:
    """Whether steps are compiled by XLA; ``auto``: on one GPU.

    Raises :class:`TrainingError` for ``on`` with several replicas, where TensorFlow cannot.
    """
    import tensorflow as tf

    if config.xla == "on" and replicas > 1:
        raise TrainingError(
            f"trainer.xla on: XLA cannot compile a step for {replicas} devices; use auto, or one "
            "device"
        )
    gpus = tf.config.list_physical_devices("GPU") and not config.cpu_devices
    return config.xla == "on" or (config.xla == "auto" and bool(gpus) and replicas == 1)


def make_deterministic(config: TrainerConfig) -> None:
    """Seeds for this process and, where wanted, operations that give the same bits each time.

    On CPUs they do so anyway (for the same number of threads); on GPUs it chooses kernels that
    add up in a fixed order. It holds for the rest of the process.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def resolve_precision(config: TrainerConfig) -> str:
    """The Keras policy: ``auto`` is bfloat16 where the hardware multiplies it, else float32.

    Processors with AVX512-BF16 but without AMX take 1.7 times as long in bfloat16 as in float32.
    """
    if config.precision != "auto":
        return config.precision
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus and not config.cpu_devices:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capable = all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)
        return "mixed_bfloat16" if capable else "float32"
    return "mixed_bfloat16" if _has_amx() else "float32"


def _multi_worker(config: TrainerConfig, workers: Workers) -> tf.distribute.Strategy:
    import tensorflow as tf

    if config.cpu_devices:
        raise TrainingError(
            f"trainer.cpu_devices {config.cpu_devices}: with several workers (TF_CONFIG) each has "
            "its GPUs, or one CPU; use 0"
        )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise TrainingError(
            f"worker {workers.index} of {workers.count}: cannot join the others "
            f"({' '.join(str(error).split())[:120]}); use a new process"
        ) from None
    workers.join(strategy)
    return strategy


def _logical_cpus(count: int) -> list[str]:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    present = tf.config.get_logical_device_configuration(cpu)
    if present is None or len(present) != count:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
            )
        except RuntimeError:
            raise TrainingError(
                f"trainer.cpu_devices {count}: TensorFlow is already running in this process with "
                f"{len(tf.config.list_logical_devices('CPU'))} CPU device(s); use a new process"
            ) from None
    return [f"CPU:{index}" for index in range(count)]


def _has_amx() -> bool:
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
