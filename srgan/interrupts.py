"""SIGTERM and Ctrl-C while training: finish the step, save, and leave with a code of its own."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from srgan.errors import SrganError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedTrainingError(SrganError):
    """Training stopped because it was asked to; the same command continues it."""

    # EX_TEMPFAIL: try again later.
    exit_code = 75


class Interrupts:
    """Remembers that a signal came; the loop asks between two steps.

    The handler that was there before (Prefect installs one for SIGTERM) is called when the state
    is saved. Outside the main thread signals cannot be caught: there, nothing changes.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._frame: FrameType | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._received is not None

    def raise_if_requested(self, where: str) -> None:
        """:meth:`stop` where a signal came."""
        if self.requested:
            self.stop(where)

    def stop(self, where: str) -> NoReturn:
        """Call the former handler, then raise :class:`InterruptedTrainingError`.

        Without a signal of its own a process stops because another worker had one.
        """
        name = "another worker"
        if self._received is not None:
            name = signal.Signals(self._received).name
            before = self._before.get(self._received)
            if callable(before) and before is not signal.default_int_handler:
                before(self._received, self._frame)
        raise InterruptedTrainingError(
            f"stopped by {name} at {where}; everything is saved, the same command continues"
        )

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            # The second Ctrl-C means now.
            raise KeyboardInterrupt
        self._received, self._frame = number, frame
