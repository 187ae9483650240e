"""A few GAN steps on one and on two logical processors; prints their losses and weights as JSON.

A process of its own: logical devices are decided before TensorFlow starts.
"""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srgan.config import RunConfig
from srgan.data import distributed
from srgan.losses import build_content_loss
from srgan.state import create_state
from srgan.step import make_step

CONFIG = RunConfig.model_validate(
    {
        "generator": {"filters": 4, "blocks": 1, "scale": 2, "norm": "batch", "base": "none"},
        "discriminator": {"filters": 4, "head": "pool", "norm": "batch", "spectral": True},
        "gan": {
            "batch": 4,
            "hr_crop": 16,
            "content": {"l1": 1.0},
            "adversarial": "relativistic",
            "adversarial_weight": 0.1,
            "adversarial_ramp": 4,
            "label_smoothing": 0.1,
            "r1": 1.0,
            "r1_every": 2,
        },
        # Short enough that every step is clipped.
        "trainer": {"clip_norm": 0.01},
    }
)


def steps(devices: list[str]) -> dict[str, Any]:
    strategy = tf.distribute.MirroredStrategy(devices)
    keras.utils.set_random_seed(3)
    state = create_state(CONFIG, strategy)
    step = make_step(state, CONFIG.gan, build_content_loss(CONFIG.gan, CONFIG.perceptual))
    rng = np.random.default_rng(1)
    batches = [
        (
            rng.random((4, 8, 8, 3), np.float32),
            rng.random((4, 16, 16, 3), np.float32) * np.float32(2) - np.float32(1),
        )
        for _ in range(6)
    ]
    losses = [
        {name: float(value) for name, value in step(lr, hr, done, 0.9).items()}
        for done, (lr, hr) in enumerate(distributed(strategy, range(len(devices)), iter(batches)))
    ]
    weights = [*state.generator.weights, *state.average.weights]
    spectral = [w for w in state.discriminator.weights if "spectral_u" in w.path]
    return {
        "losses": losses,
        "weights": np.concatenate([w.numpy().ravel() for w in weights]).tolist(),
        "spectral": np.concatenate([w.numpy().ravel() for w in spectral]).tolist(),
    }


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    both = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(cpu, both)
    print(json.dumps([steps(["CPU:0"]), steps(["CPU:0", "CPU:1"])]))
