"""Start TensorFlow without the lines that it prints about machines without a GPU."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# "oneDNN custom operations are on", "Could not find cuda drivers", "failed call to cuInit", ...
# No environment variable turns them off; all of them are normal.
_NOISE = re.compile(
    rb"^WARNING: All log messages before absl::InitializeLog"
    rb"|^[IWE]\d{4} .*\b(port|cudart_stub|cuda_platform|cpu_feature_guard)\.cc:\d+\]"
    rb"|^To enable the following instructions:"
)


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices; other lines on standard error come through."""
    if "tensorflow" in sys.modules:
        return
    with _without_noise():
        import tensorflow as tf

        tf.config.list_physical_devices()


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
