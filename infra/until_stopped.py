"""Programs that run services until they are asked to end, and leave no process behind."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from flows.processes import new_mark, start_guardian
from infra.local.output import say
from srgan.errors import SrganError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody asked the program to end."""


def run_until_stopped(run: Callable[[str], None], farewell: str) -> int:
    """Call ``run(mark)``, which watches its services for ever; the program's exit code.

    ``mark`` is for the environment of all that it starts. 0 when it was asked to end, which
    :class:`Stopped` says inside of it; that of the error when a part could not start or died.
    """
    for number in _SIGNALS:
        signal.signal(number, _raise_stopped)
    try:
        run(new_mark())
    except Stopped:
        say(farewell)
        return 0
    except SrganError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


@contextlib.contextmanager
def guarded(mark: str, files: Sequence[Path] = ()) -> Iterator[None]:
    """A guardian, while this lasts, that ends all with ``mark`` and removes ``files`` if we die."""
    guardian = start_guardian(mark, files)
    try:
        yield
    finally:
        guardian.kill()
        guardian.wait()


def _raise_stopped(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the orderly end, which takes a minute at most.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped
