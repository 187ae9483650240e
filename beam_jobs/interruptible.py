"""The local engine in this process, so that Ctrl-C ends it and nothing else does.

Beam turns a KeyboardInterrupt in a worker function into a RuntimeError; one between its own lines
can leave a thread that keeps the process from ever ending. So a pipeline runs in a thread of its
own, and only the caller's is struck.
"""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable

# A unit takes seconds; whoever presses Ctrl-C again need not wait for its end.
_PATIENCE = 10.0
_stopped: set[str] = set()


def run_interruptibly(
    run: Callable[[Callable[[str], None]], None], function: Callable[[str], None]
) -> None:
    """Call ``run(function)``; after an interrupt ``function`` is not called for further places."""
    token = uuid.uuid4().hex
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            run(functools.partial(_unless_stopped, token, function))
        except BaseException as error:
            outcome.append(error)

    # Threads that Beam starts in there are daemons, too.
    thread = threading.Thread(target=work, name="beam pipeline", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        _stopped.add(token)
        thread.join(_PATIENCE)
        raise
    if outcome:
        raise outcome[0]


def _unless_stopped(token: str, function: Callable[[str], None], place: str) -> None:
    if token not in _stopped:
        function(place)
