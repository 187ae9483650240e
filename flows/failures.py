"""How a run ends when something a person can mend is wrong: one line, no traceback."""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from srgan.errors import SrganError, StorageError

# EX_TEMPFAIL: the same command continues.
INTERRUPTED = 75
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # A run that ended as Failed leaves the engine as FailedRun with the state's message.
        if record.exc_info and isinstance(record.exc_info[1], SrganError | FailedRun):
            message, line = record.getMessage(), str(record.exc_info[1])
            record.msg, record.args = message if line in message else f"{message}: {line}", ()
            record.exc_info = None
        return True


def log_errors_in_one_line() -> None:
    """Keep tracebacks of :class:`SrganError` out of the run's log; the first line of every flow."""
    for name in _RUN_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(item, _OneLine) for item in logger.filters):
            logger.addFilter(_OneLine())


def failed(error: SrganError) -> State[Any]:
    """The end of a run with the error's one line; a run that was told to stop says so."""
    interrupted = error.exit_code == INTERRUPTED
    return Failed(message=str(error), name="Interrupted" if interrupted else "Failed")


def is_hiccup(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task may succeed on its next try: remote storage that did not answer.

    A place that is not there, or may not be read, does not appear by waiting.
    """
    error = state.result(raise_on_failure=False)
    return (
        isinstance(error, StorageError)
        and "gs://" in str(error)
        and error.__cause__ is not None
        and not isinstance(error.__cause__, FileNotFoundError | PermissionError)
    )
