"""What the command shows: a progress line, and at the end what was built."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from beam_jobs.watch import BuildProgress
from srgan import storage
from srgan.records import PREVIEW, REJECTED, SPLITS

if TYPE_CHECKING:
    from beam_jobs.build_pairs import BuildResult

_TITLES = {
    "inventory": "hashing",
    "pairs": "making pairs",
    "shards": "composing",
    "publish": "publishing",
}
_PLAIN_INTERVAL = 10.0


class ProgressLine:
    """A listener that draws a live line on a terminal, and sparse plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live: Progress | None = None
        self._stage = ""
        self._began = self._printed = time.monotonic()
        self._first = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description:<14}"),
                BarColumn(bar_width=30),
                _Figures(),
                console=self._console,
                transient=True,
            )
            self._live.start()
            self._live.add_task("starting", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: BuildProgress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began, self._first = progress.stage, now, progress.done
            self._printed = now - _PLAIN_INTERVAL
        speed = (progress.done - self._first) / max(now - self._began, 1e-9)
        text = figures(progress, speed)
        if self._live is not None:
            self._live.update(
                self._live.task_ids[0],
                description=_TITLES.get(progress.stage, progress.stage),
                completed=progress.done,
                total=progress.total,
                text=text,
            )
        elif now - self._printed >= _PLAIN_INTERVAL or progress.done == progress.total:
            self._printed = now
            print(f"{_TITLES.get(progress.stage, progress.stage)}: {text}", file=sys.stderr)


class _Figures(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("text", "")))


def figures(progress: BuildProgress, speed: float) -> str:
    """``1,024/4,000 images, 3 rejected, 310/s, 0:09 left``."""
    text = f"{progress.done:,}/{progress.total:,} images"
    if progress.rejected:
        text += f", {progress.rejected:,} rejected"
    left = progress.total - progress.done
    if speed > 0 and left:
        minutes, seconds = divmod(round(left / speed), 60)
        text += f", {speed:,.0f}/s, {minutes}:{seconds:02d} left"
    return text


def summary(result: BuildResult) -> None:
    """Where the dataset is, records per split, rejects by reason, the preview."""
    manifest, place = result.dataset.manifest, result.dataset.place
    console = Console(highlight=False, soft_wrap=True)
    if result.by_another:
        state = "already built by another builder"
    elif result.already_built:
        state = "already built; nothing to do"
    else:
        speed = manifest.inputs / max(result.seconds, 1e-9)
        state = f"built in {result.seconds:.1f} s ({speed:,.0f} images/s)"
    rows = [("dataset", place)]
    for split in SPLITS:
        records, groups = manifest.records[split], manifest.groups[split]
        hint = f"; raise --{split}-fraction, or give more groups" if split != "train" else ""
        rows.append(
            (split, f"{records:,} pairs of {groups:,} groups" if records else f"none{hint}")
        )
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in manifest.reject_reasons.items())
    listed = f": {reasons} (see {REJECTED})" if reasons else ""
    rows += [
        ("rejected", f"{manifest.rejected_sources:,}{listed}"),
        ("preview", storage.join(place, PREVIEW)),
    ]
    console.print(f"{storage.base_name(place)}: {state}", markup=False)
    for title, text in rows:
        console.print(f"  {title:<10}{text}", markup=False)
