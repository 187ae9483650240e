"""Make a model that comes with the package, from image set to card.

    python -m infra.models.make faces-x4 --faces lfw

1. build the datasets of the recipe (``infra/models/<name>.yaml``)
2. train, in as many pieces as one likes: ``--max-minutes 50`` ends a piece with all of it saved
3. measure, bicubic beside it, and write the run's report
4. pack it, in float16 where that changes no metric, with its card and SHA256SUMS

Killed at any time, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.models.recipe import Recipe, read_recipe, recipe_names
from infra.models.slices import TimeSlice, counting
from srgan.errors import exit_code_of
from srgan.interrupts import InterruptedTrainingError
from srgan.workspace import Workspace, prepare_environment

if TYPE_CHECKING:
    from srgan.config import RunConfig
    from srgan.records import Dataset
    from srgan.runs import TrainResult

Say = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when the model is made, 75 when there is more to do, 2 for an error."""
    options = _parser().parse_args(argv)
    workspace = prepare_environment()

    def command() -> int:
        try:
            folder = make(read_recipe(options.model), options, workspace, say)
        except InterruptedTrainingError as error:
            # The end of a piece is no error.
            say(str(error))
            return error.exit_code
        say(f"made: {folder}")
        return 0

    return exit_code_of(command, "stopped; the same command goes on")


def make(recipe: Recipe, options: argparse.Namespace, workspace: Workspace, say: Say) -> Path:
    """All four steps; returns the folder of the packed model."""
    config = recipe.run_config(options.preset, tuple(options.set))
    piece = TimeSlice(options.max_minutes, say)
    datasets = build_datasets(recipe, options.faces, workspace, say)
    result = train(recipe, config, datasets, piece, say)

    # Not before: Beam's workers would import TensorFlow with it.
    from infra.models.publish import publish
    from srgan.pipeline import evaluate_step
    from srgan.runs import RunFolder

    say("measuring")
    evaluate_step(result.folder, progress=counting(say, "measured"))
    say(f"report: {RunFolder(result.folder).report}")
    target = Path(options.output) / options.model
    return publish(recipe, result, datasets, target, workspace, say)


def build_datasets(
    recipe: Recipe, faces: Sequence[str], workspace: Workspace, say: Say
) -> list[Dataset]:
    """The recipe's datasets; those that are there already are recognised."""
    from beam_jobs.build_pairs import build
    from beam_jobs.console import ProgressLine

    datasets = []
    for config in recipe.datasets:
        with ProgressLine() as line:
            built = build(faces, str(workspace.datasets), config, progress=line)
        counts = ", ".join(f"{n:,} {split}" for split, n in built.dataset.manifest.records.items())
        say(f"dataset: {built.dataset.place} ({counts})")
        datasets.append(built.dataset)
    return datasets


def train(
    recipe: Recipe, config: RunConfig, datasets: Sequence[Dataset], piece: TimeSlice, say: Say
) -> TrainResult:
    """The finished training; :class:`InterruptedTrainingError` when the piece of time is over."""
    from srgan.pipeline import train_step

    result = train_step(
        config,
        [dataset.place for dataset in datasets],
        stage=recipe.stage,
        listeners=[piece],
    )
    minutes = sum(result.seconds.values()) / 60
    say(f"trained: {result.folder} ({minutes:.0f} minutes in all)")
    return result


def say(line: str) -> None:
    """A line of progress, at once, into a log file too."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.models.make",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", choices=recipe_names())
    parser.add_argument(
        "--faces", required=True, nargs="+", metavar="IMAGE_SET", help="folders, archives, gs://…"
    )
    parser.add_argument("--preset", metavar="NAME|FILE", help="instead of the recipe's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the training"
    )
    parser.add_argument(
        "--max-minutes",
        type=float,
        default=0.0,
        metavar="N",
        help="end this piece of the training after that time; 0: train to the end (default: 0)",
    )
    parser.add_argument(
        "--output",
        default=str(Path(__file__).parents[2] / "srgan" / "models"),
        metavar="FOLDER",
        help="where <model>/ is put (default: into the package)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
