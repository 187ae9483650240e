"""``srgan dataset``: what is in a dataset, whether it is whole, and how it differs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srgan.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

app = typer.Typer(no_args_is_help=True, help="Datasets: what is in one, and whether it is whole.")

Place = Annotated[str, typer.Argument(metavar="DATASET", help="Place of a dataset.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@app.command()
def show(place: Place, as_json: Json = False) -> None:
    """Counts, splits, rejects, settings, lineage and the spread of sizes and sharpness."""
    from srgan.datasets.show import summarize
    from srgan.datasets.text import show_lines
    from srgan.progress import CountBar
    from srgan.records import open_dataset

    dataset = open_dataset(place)
    with CountBar("read") as progress:
        summary = summarize(dataset, progress)
    if as_json:
        _print_json(summary)
    else:
        console = _console()
        _print(console, show_lines(summary, ascii_only=console.options.ascii_only))


@app.command()
def verify(
    place: Place,
    quick: Annotated[bool, typer.Option("--quick", help="Hashes only; no record is read.")] = False,
    as_json: Json = False,
) -> None:
    """Compare every byte with the manifest, decode every pair, and check the accounts.

    Every problem is a line; the exit code is 2 where there is one.
    """
    from srgan.datasets.text import verify_lines
    from srgan.datasets.verify import verify as check
    from srgan.progress import CountBar
    from srgan.records import open_dataset

    dataset = open_dataset(place)
    with CountBar("verified") as progress:
        result = check(dataset, quick=quick, progress=progress)
    if as_json:
        _print_json(result)
    else:
        _print(_console(), verify_lines(result))
    if result.problems:
        count = len(result.problems)
        problems = "1 problem" if count == 1 else f"{count:,} problems"
        raise DatasetError(
            f"{dataset.place}: {problems}; delete it and build it again, or copy it again"
        )


@app.command()
def diff(
    place: Place,
    others: Annotated[
        list[str], typer.Argument(metavar="OTHER...", help="Image sets, or one other dataset.")
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Every file, however many there are.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What a new build of an image set would add, or how two datasets differ.

    Files are compared by their bytes, so that a renamed file is none that is new.
    """
    from srgan.datasets.compare import compare
    from srgan.datasets.sources import diff_sources
    from srgan.datasets.text import dataset_diff_lines, source_diff_lines
    from srgan.progress import CountBar
    from srgan.records import open_dataset

    dataset = open_dataset(place)
    datasets = [other for other in others if _is_dataset(other)]
    if datasets and len(others) > 1:
        raise ConfigError(f"{datasets[0]} is a dataset; compare with it alone")
    if datasets:
        with CountBar("read") as progress:
            found = compare(dataset, open_dataset(datasets[0]), progress)
        lines = dataset_diff_lines(found, every=every)
        _print_json(found) if as_json else _print(_console(), lines)
        return
    with CountBar("hashed") as progress:
        changes = diff_sources(dataset, others, progress)
    if as_json:
        _print_json(changes)
    else:
        _print(_console(), source_diff_lines(changes, every=every))


def _is_dataset(place: str) -> bool:
    """Whether there is a manifest like ours, even a damaged one or of another version."""
    from srgan import storage
    from srgan.records import MANIFEST

    if any(character in place for character in "*?["):
        return False
    manifest = storage.join(place, MANIFEST)
    return storage.exists(manifest) and b'"build_id"' in storage.read_bytes(manifest)


def _console() -> Console:
    from rich.console import Console

    # Names may hold what the terminal's encoding cannot say.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(highlight=False, markup=False, emoji=False)


def _print(console: Console, lines: Iterable[Text | str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _print_json(data: Any) -> None:
    import dataclasses
    import json

    from pydantic import BaseModel

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        raise TypeError(type(value).__name__)

    typer.echo(json.dumps(dataclasses.asdict(data), indent=2, default=plain))
