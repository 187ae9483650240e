"""The pipeline in a terminal: bars while it works, tables at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from srgan.metrics import METRICS
from srgan.progress import LiveBars
from srgan.scores import BASELINE, MODEL


class Bars(LiveBars):
    """A bar for each thing in progress; without a terminal a line at each tenth."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
                disable=not console.is_terminal,
            )
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __call__(self, name: str, done: float, total: float, note: str) -> None:
        """Show ``done`` of ``total``; called from any thread."""
        if not self._console.is_terminal:
            tenth = int(10 * done / total) if total else 10
            if self._tenths.get(name) != tenth:
                self._tenths[name] = tenth
                self._console.print(f"{name}: {note}", soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note=note)
        self._progress.update(self._tasks[name], completed=done, total=total, note=note)


def metrics_table(systems: Mapping[str, Mapping[str, float]], images: int) -> Table:
    """Each metric, bicubic beside the other systems, on the same images."""
    names = [BASELINE, MODEL, *(name for name in systems if name not in (BASELINE, MODEL))]
    table = Table(title=f"{images} test images", title_justify="left")
    table.add_column("metric")
    for name in names:
        table.add_column(name, justify="right")
    for metric in (name for name in METRICS if name in systems[BASELINE]):
        values = [systems[name].get(metric) for name in names]
        table.add_row(metric, *("-" if value is None else f"{value:.4f}" for value in values))
    return table


def times_table(result: Mapping[str, Any]) -> Table:
    """How long each stage took when it was done: now, or before the run was interrupted."""
    table = Table(title="time", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    built = "dataset" + (", found built" if result["dataset"]["already_built"] else "")
    rows = [(built, result["dataset"]["seconds"])]
    rows += list(result["training"]["seconds"].items())
    rows += [
        ("evaluation", result["evaluation"]["seconds"]),
        ("registration", result["version"]["seconds"]),
        ("gate", result["decision"]["seconds"]),
    ]
    for name, seconds in rows:
        table.add_row(name, f"{seconds:.1f}")
    return table


def places_table(places: Mapping[str, str]) -> Table:
    """Where everything is."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, place in places.items():
        table.add_row(name, place)
    return table
