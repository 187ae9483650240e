"""Batch normalisation as every network here uses it."""

from __future__ import annotations

import keras
from keras import layers


def batch_norm(name: str) -> layers.Layer:
    """BatchNormalization whose statistics are those of the global batch.

    Without ``synchronized`` replicas drift apart silently; only TensorFlow knows the argument.
    """
    options = {"synchronized": True} if keras.backend.backend() == "tensorflow" else {}
    return layers.BatchNormalization(momentum=0.9, name=name, **options)
