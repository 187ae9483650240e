"""A job on an engine outside this process: started, waited for, taken back on Ctrl-C."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from beam_jobs.engines.beam import make_pipeline, option
from beam_jobs.engines.failures import EngineError, find_error, in_one_line
from beam_jobs.engines.notes import WithNote, leave_note, read_note
from srgan import storage
from srgan.errors import SrganError


def run_remotely(
    runner: str,
    arguments: Sequence[str],
    function: Callable[[str], None],
    places: Sequence[str],
    step: str,
) -> None:
    """Call ``function`` for all ``places`` in a job named after ``step``.

    Raises what ``function`` raised, where that is an error for people, else
    :class:`EngineError`.
    """
    name = job_name(option(arguments, "job_name"), step)
    note = storage.join(places[0].rpartition("/")[0], f".error-{secrets.token_hex(8)}.json")
    failure: SrganError | None = None
    try:
        pipeline = make_pipeline(
            runner, [*arguments, f"--job_name={name}"], WithNote(function, note), places, step
        )
        _finish(pipeline, note)
    except Exception as error:
        failure = find_error(error) or EngineError(f"{name}: {in_one_line(error)}")
        failure.__cause__ = error
    noted = read_note(note)
    if noted is not None:
        storage.delete(note)
        raise noted
    if failure is not None:
        raise failure


def job_name(given: str | None, step: str) -> str:
    """A name that says what the job does, is unique, and that every engine accepts.

    ``given`` is the user's ``--job_name``; each step of a build is a job of its own.
    """
    words = re.sub("[^a-z0-9]+", "-", f"{given or 'srgan'}-{step}".lower()).strip("-")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{words}-{stamp}-{secrets.token_hex(2)}"


def _finish(pipeline: Any, note: str) -> None:
    result = pipeline.run()
    try:
        result.wait_until_finish()
    except (KeyboardInterrupt, SystemExit):
        # Nobody waits for it any more. Beam's job server for Flink takes back no job: the note
        # makes the workers leave out what they have not begun.
        with contextlib.suppress(Exception):
            leave_note(note, SrganError("interrupted"))
        with contextlib.suppress(Exception):
            result.cancel()
        raise
