"""What a run leaves on its page: live progress, the metrics as a table, small pictures."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

from srgan.scores import Evaluation

# Called with what is done, how much of it, of how much, and a line about it.
Listener = Callable[[str, float, float, str], None]
# Who else sees progress: the terminal of a flow that runs in the foreground.
watcher: ContextVar[Listener | None] = ContextVar("watcher", default=None)

# Often enough to look alive, rarely enough for SQLite.
_INTERVAL = 5.0
# Prefect keeps artifacts in its database.
_PICTURE_WIDTH = 640


class Progress:
    """A progress artifact that is written at most every five seconds, from any thread.

    Made inside a task. What it shows is for the eye: a server that does not answer for a moment
    costs one line in the log, never the training.
    """

    def __init__(self, key: str, description: str) -> None:
        self._description = description
        self._logger = get_run_logger()
        self._id = cast(UUID, create_progress_artifact(0.0, key=key, description=description))
        self._written = time.monotonic()
        self._complained = False
        # The caller of show() may be in another thread, without this context.
        self._watcher = watcher.get()

    def show(self, done: float, total: float, note: str = "") -> None:
        """``done`` of ``total``, with a line about it."""
        if self._watcher is not None:
            self._watcher(self._description, done, total, note)
        if done < total and time.monotonic() - self._written < _INTERVAL:
            return
        self._written = time.monotonic()
        percent = 100.0 * min(1.0, done / total) if total else 100.0
        text = f"{self._description}: {note}" if note else self._description
        try:
            update_progress_artifact(self._id, round(percent, 1), description=text)
        except Exception as error:
            if not self._complained:
                self._logger.log(logging.WARNING, "progress is not shown: %s", error)
            self._complained = True


def show_metrics(key: str, evaluation: Evaluation, description: str) -> None:
    """A table: one row for each metric, one column for each system."""
    rows: list[dict[str, Any]] = []
    for metric in evaluation.measured:
        row: dict[str, Any] = {"metric": metric}
        row |= {
            name: f"{values[metric]:.4f}" if metric in values else "-"
            for name, values in evaluation.systems.items()
        }
        rows.append(row)
    rows += [{"metric": m, "note": reason} for m, reason in evaluation.not_measured.items()]
    create_table_artifact(rows, key=key, description=description)


def show_places(key: str, title: str, places: Mapping[str, str], pictures: Sequence[Path]) -> None:
    """Where everything is, and pictures small enough for a page, as data URIs."""
    lines = [f"### {title}", "", "| what | where |", "|---|---|"]
    lines += [f"| {name} | `{place}` |" for name, place in places.items()]
    for picture in pictures:
        if picture.exists():
            lines += ["", f"![{picture.stem}]({_data_uri(picture)})"]
    create_markdown_artifact("\n".join(lines), key=key, description=title)


def _data_uri(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        # Of an animation the last frame: what the run ended with.
        image.seek(getattr(image, "n_frames", 1) - 1)
        picture = image.convert("RGB")
    picture.thumbnail((_PICTURE_WIDTH, 10 * _PICTURE_WIDTH))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
