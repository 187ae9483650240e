"""Progress of workers in whichever process: by the results that appear in a folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from srgan import storage
from srgan.errors import SrganError

_LOCAL_INTERVAL, _REMOTE_INTERVAL = 0.5, 5.0


@dataclass(frozen=True)
class BuildProgress:
    """``done`` of ``total`` sources have gone through ``stage``.

    Stages are inventory, pairs, shards and publish.

    ``rejected`` counts those of ``done`` that gave no record.
    """

    stage: str
    done: int
    total: int
    rejected: int


Listener = Callable[[BuildProgress], None]


def ignore(progress: BuildProgress) -> None:
    """A listener that hears nothing."""


@contextmanager
def watching(
    folder: str,
    suffix: str,
    count: Callable[[set[str]], BuildProgress],
    listener: Listener,
) -> Iterator[None]:
    """Report ``count(names)`` from a thread whenever results ``folder/<name><suffix>`` appear.

    What it reports is for the eye: a folder that cannot be listed for once is passed over.
    """
    stop = threading.Event()
    interval = _LOCAL_INTERVAL if storage.local_path(folder) is not None else _REMOTE_INTERVAL

    def look(last: BuildProgress | None) -> BuildProgress | None:
        try:
            progress = count(_names(folder, suffix))
        except SrganError:
            return last
        if progress != last:
            listener(progress)
        return progress

    def watch() -> None:
        last = look(None)
        while not stop.wait(interval):
            last = look(last)
        look(last)

    thread = threading.Thread(target=watch, name="build progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _names(folder: str, suffix: str) -> set[str]:
    if not storage.exists(folder):
        return set()
    names = (file.name for file in storage.list_files(folder))
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
