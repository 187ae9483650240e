"""Datasets for people: lines for a terminal of 80 columns. Places and names are never cut."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from srgan.datasets.charts import axis, bar, columns, figure, size
from srgan.datasets.compare import DatasetDiff, Move
from srgan.datasets.histogram import Histogram
from srgan.datasets.reasons import meaning
from srgan.datasets.show import Setting, Summary
from srgan.datasets.sources import FileChange, Kind, SourceDiff
from srgan.datasets.verify import Verification

WIDTH = 78
_LABEL = 12
_FEW, _FOLDERS = 20, 20
_KINDS: Mapping[Kind, str] = {
    "new": "bytes that the dataset does not know",
    "changed": "other bytes under a known name",
    "copy": "the same bytes as another file; a build would reject them",
    "renamed": "the same bytes under another name",
    "gone": "in the dataset, no longer in the image set",
    "unknown": "LR files, of which a dataset does not know the bytes",
}
_CHARTS = (
    ("source_side", "source, shorter side", " px"),
    ("crop_side", "crop in the source", " px"),
    ("sharpness", "sharpness of HR", ""),
)


def show_lines(summary: Summary, *, ascii_only: bool = False) -> Iterator[Text]:
    """A dataset at a glance."""
    config = summary.config
    counts = f"{summary.records:,} pairs, {size(summary.bytes)}"
    yield _title(summary.name, counts)
    sizes = f"HR {config.hr_size}x{config.hr_size}, LR {config.lr_size}x{config.lr_size}"
    if config.crop == "none":
        sizes = f"HR {config.hr_size} pixels and more"
    yield _row("pairs", f"{sizes}: crop {config.crop}, {config.degradation} x{config.scale}")
    yield _row("place", summary.place)
    for label, picture in (("preview", summary.preview), ("rejects", summary.reject_sheet)):
        if picture is not None:
            yield _row(label, picture)
    yield _row("digest", summary.digest)
    yield _row("image set", summary.image_set.removeprefix("sha256:"))
    for number, digest in enumerate(summary.excluded):
        yield _row("kept apart" if not number else "", digest)
    yield _row("built by", f"srgan {summary.code_version}")
    yield from _split_lines(summary, ascii_only)
    yield from _reject_lines(summary)
    yield from _setting_lines(summary.settings, "settings that differ from the defaults", "default")
    for name, title, unit in _CHARTS:
        measured = summary.distributions.get(name)
        if measured is not None:
            yield from _chart_lines(measured, title, unit, ascii_only)


def verify_lines(result: Verification) -> Iterator[str]:
    """One line for each problem; where there is none, one that says what was checked."""
    yield from map(str, result.problems)
    if not result.problems:
        read = "hashes only" if result.quick else f"{result.records:,} records read"
        yield f"{result.place}: whole ({result.files:,} files, {size(result.bytes)}, {read})"


def source_diff_lines(diff: SourceDiff, *, every: bool = False) -> Iterator[Text]:
    """What a new build would add and lose; ``every``: each file instead of counts by folder."""
    counts = Counter(file.kind for file in diff.files)
    inputs = ", ".join(diff.inputs)
    yield Text.assemble((inputs, "bold"), f" against {diff.dataset}")
    yield Text(f"  {_many(counts['unchanged'], 'file')} unchanged")
    for kind, words in _KINDS.items():
        files = diff.of(kind)
        if not files:
            continue
        used = sum(file.used for file in files)
        records = f" ({used:,} of them with records)" if kind in ("gone", "changed") else ""
        yield Text()
        yield Text.assemble((kind, "bold"), f": {_many(len(files), 'file')}, {words}{records}")
        if every or len(files) <= _FEW:
            yield from (Text(f"  {_file_text(file)}") for file in files)
        else:
            yield from _folder_lines(files)
    if counts.total() == counts["unchanged"]:
        yield Text("  nothing to build: the image set is the one that the dataset was built from")


def dataset_diff_lines(diff: DatasetDiff, *, every: bool = False) -> Iterator[Text]:
    """Why two datasets differ."""
    yield Text.assemble(("here ", "bold"), diff.here)
    yield Text.assemble(("there", "bold"), f" {diff.there}")
    yield Text()
    yield Text("  same image set" if diff.same_image_set else "  another image set")
    altered = f", {diff.altered:,} of them with another HR" if diff.altered else ""
    yield Text(f"  {_many(diff.common, 'record')} in both{altered}")
    yield from _setting_lines(diff.settings, "settings that differ", "there")
    for where, records in (("here", diff.only_here), ("there", diff.only_there)):
        if records:
            yield Text()
            yield Text(f"{_many(len(records), 'record')} only {where}", "bold")
            names = [FileChange(source, "new") for source in records.values()]
            if every or len(names) <= _FEW:
                yield from (Text(f"  {source}") for source in records.values())
            else:
                yield from _folder_lines(names)
    yield from _move_lines(diff.moved, "photo", every)
    yield from _move_lines(diff.moved_groups, "group", every)


def _split_lines(summary: Summary, ascii_only: bool) -> Iterator[Text]:
    yield Text()
    yield Text(f"{'split':<8}{'pairs':>11}{'':8}{'groups':>11}{'shards':>8}{'size':>10}", "bold")
    for split in summary.splits:
        share = split.records / max(1, summary.records)
        line = f"{split.name:<8}{split.records:>11,}{share:>8.1%}{split.groups:>11,}"
        line += f"{split.shards:>8,}{size(split.bytes):>10}  "
        yield Text(line + bar(share, WIDTH - len(line), ascii_only=ascii_only))


def _reject_lines(summary: Summary) -> Iterator[Text]:
    yield Text()
    files = f"{summary.inputs:,} files: {summary.used_sources:,} used, "
    files += f"{summary.rejected_sources:,} rejected"
    if summary.rejected_crops:
        files += f"; {summary.rejected_crops:,} crops of used ones rejected"
    yield Text(files, "bold")
    if summary.rejects:
        yield Text(f"  {'':<17}{'files':>8}{'crops':>8}", "dim")
    for reason, (sources, crops) in summary.rejects.items():
        counts = "".join(f"{f'{n:,}' if n else '-':>8}" for n in (sources, crops))
        yield Text(f"  {reason:<17}{counts}  {meaning(reason)}".rstrip())


def _setting_lines(settings: Sequence[Setting], title: str, other: str) -> Iterator[Text]:
    if not settings:
        return
    yield Text()
    yield Text(title, "bold")
    width = max(len(setting.name) for setting in settings)
    for setting in settings:
        yield Text.assemble(
            f"  {setting.name:<{width}}  {_value(setting.value)}",
            (f"  ({other} {_value(setting.other)})", "dim"),
        )


def _chart_lines(measured: Histogram, title: str, unit: str, ascii_only: bool) -> Iterator[Text]:
    yield Text()
    if measured.minimum == measured.maximum:
        yield Text.assemble((title, "bold"), f"  all {figure(measured.minimum)}{unit}")
        return
    points = (("5 %", measured.p05), ("median", measured.median), ("95 %", measured.p95))
    figures = "  ".join(f"{name} {figure(value)}" for name, value in points)
    yield _title(title, figures + unit)
    if sum(measured.counts) < _FEW:
        return
    for line in columns(measured, WIDTH - 2, 4, ascii_only=ascii_only):
        yield Text(f"  {line}".rstrip())
    yield Text(f"  {axis(measured, WIDTH - 2)}", "dim")


def _folder_lines(files: Sequence[FileChange]) -> Iterator[Text]:
    folders = Counter(file.name.rpartition("/")[0] or "." for file in files)
    ranked = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = ranked[:_FOLDERS], ranked[_FOLDERS:]
    others = sum(count for _, count in rest)
    width = max(len(f"{count:,}") for count in (ranked[0][1], others))
    for folder, count in shown:
        yield Text(f"  {count:>{width},}  {folder}/")
    if rest:
        yield Text(f"  {others:>{width},}  in {len(rest):,} more folders; --all lists every file")


def _move_lines(moves: Sequence[Move], what: str, every: bool) -> Iterator[Text]:
    if not moves:
        return
    yield Text()
    title = (
        f"{len(moves):,} {what} in another split: one dataset holds out what the other trains on"
    )
    if not any("train" in (move.here, move.there) for move in moves):
        title = f"{len(moves):,} {what} in another split"
    yield Text(title, "bold red")
    ways = Counter((move.here, move.there) for move in moves)
    for (here, there), count in ways.items():
        yield Text(f"  {count:,} in {here} here, in {there} there")
        names = [move.name for move in moves if (move.here, move.there) == (here, there)]
        shown = names if every else names[:_FEW]
        yield from (Text(f"    {name}") for name in shown)
        if len(shown) < count:
            yield Text(f"    and {count - len(shown):,} more; --all lists them")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _file_text(file: FileChange) -> str:
    if file.kind == "renamed":
        return f"{file.was} -> {file.name}"
    return f"{file.name} = {file.was}" if file.kind == "copy" else file.name


def _title(left: str, right: str) -> Text:
    return Text.assemble((left, "bold"), " " * max(2, WIDTH - len(left) - len(right)), right)


def _row(label: str, value: str) -> Text:
    return Text.assemble((f"  {label:<{_LABEL}}", "dim"), value)


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
