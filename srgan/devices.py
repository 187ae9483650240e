"""Which devices train, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import TrainingError
from srgan.training_config import TrainerConfig

if TYPE_CHECKING:
    import tensorflow as tf


def make_strategy(config: TrainerConfig) -> tf.distribute.Strategy:
    """MirroredStrategy over every visible GPU, else over the CPU, or the logical CPU devices asked.

    Raises :class:`TrainingError` when logical devices are asked for too late in the process.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Without it TensorFlow takes all memory and a second process on the machine gets none.
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.cpu_devices:
        return tf.distribute.MirroredStrategy(_logical_cpus(config.cpu_devices))
    if gpus:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy(["CPU:0"])


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
