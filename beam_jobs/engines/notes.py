"""How an error for people gets home from an engine that would try again.

Flink and Dataflow cannot tell a machine that died from a photo that cannot be read: they repeat
the work, for minutes, and then hand over a stack of Java. So a worker leaves such an error as a
*note* in storage and returns; the others see the note and do nothing more; the job ends at once,
and the driver raises what the note says. Machines that die are left to the engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from beam_jobs.engines.failures import make_error
from srgan import storage
from srgan.errors import SrganError


@dataclass(frozen=True)
class WithNote:
    """``function``, with its error for people left at ``note``."""

    function: Callable[[str], None]
    note: str

    def __call__(self, place: str) -> None:
        if storage.exists(self.note):
            return
        try:
            self.function(place)
        except SrganError as error:
            leave_note(self.note, error)


def leave_note(note: str, error: SrganError) -> None:
    """Write ``error`` down at ``note``; workers that see it do nothing more."""
    storage.write_bytes(note, json.dumps([type(error).__name__, str(error)]).encode())


def read_note(note: str) -> SrganError | None:
    """The error at ``note``; ``None`` when no worker left one."""
    if not storage.exists(note):
        return None
    name, message = json.loads(storage.read_bytes(note))
    return make_error(name, message) or SrganError(message)
