"""A worker process: Beam's own, silent, and gone when the process that started it is gone.

That is the driver of the local engine, or the pool beside a task manager of Flink's. What a worker
would log of a failure comes back to the driver with the exception.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time


def main() -> None:
    """Serve whom the environment names, as Beam passes it on."""
    logging.disable(logging.CRITICAL)
    # Beam prints there what the driver gets as well; the loss of a driver is no news either.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    # Ctrl-C reaches the whole group; the driver decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    from apache_beam.runners.worker.sdk_worker_main import main as serve

    serve(sys.argv)


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(0.1)
    os._exit(1)


if __name__ == "__main__":
    main()
