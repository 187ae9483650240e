"""Start TensorFlow fast, without the lines that it prints about machines without a GPU."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# "oneDNN custom operations are on", "Could not find cuda drivers", "failed call to cuInit", ...
# No environment variable turns them off; all of them are normal.
_NOISE = re.compile(
    rb"^WARNING: All log messages before absl::InitializeLog"
    rb"|^[IWE]\d{4} .*\b(port|cudart_stub|cuda_platform|cpu_feature_guard)\.cc:\d+\]"
    rb"|^To enable the following instructions:"
)
# TensorFlow imports all of Keras, and Keras these for wrappers, plots and data frames that are not
# used here: 1.4 of 3.4 seconds. Keras does without where they are not installed.
_UNUSED = ("sklearn", "scipy", "matplotlib", "pandas")


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices; other lines on standard error come through."""
    if "tensorflow" in sys.modules:
        return
    with _without_noise(), _hidden(_UNUSED):
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextmanager
def _hidden(packages: Sequence[str]) -> Iterator[None]:
    """Within the block these packages cannot be imported, unless they were before."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@contextmanager
def _without_noise() -> Iterator[None]:
    """Standard error of this process, C++ included, kept and then printed without the noise."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            kept.seek(0)
            for line in kept:
                if not _NOISE.search(line):
                    os.write(original, line)
            os.close(original)
