"""``metrics.jsonl``: one line for each logged step of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srgan import storage
from srgan.runs import STAGES, Stage


class MetricsLog:
    """Appends ``{"stage": …, "step": …, name: value, …}``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        line = json.dumps({"stage": stage, "step": step, **values})
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    def forget_after(self, stage: Stage | None, step: int) -> None:
        """Drop what a killed process logged after the checkpoint that is continued from."""
        if not self._path.exists() or stage is None:
            return
        position = (STAGES.index(stage), step)
        kept = [
            entry
            for entry in read_metrics(self._path)
            if (STAGES.index(entry["stage"]), entry["step"]) <= position
        ]
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        storage.write_bytes(str(self._path), text.encode())


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a ``metrics.jsonl``; a last line that a killed process cut short is left out."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
