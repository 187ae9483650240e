"""``make demo``: the whole pipeline in one process, on an embedded Prefect server and SQLite.

    python -m flows.demo [--faces IMAGE_SET] [--preset NAME] [--max-minutes M]

1. start the server (or use that of a running ``make stack``)
2. run the flow ``srgan``; finished stages of an earlier, killed run are not repeated
3. enhance a test photo with the registered model
4. show the measurements, the times, and where everything is
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from flows.parameters import DEFAULT_DATASET, run_config
from flows.processes import locked
from flows.server import prefect_for_us
from flows.settings import prepare_prefect
from srgan.config import parse
from srgan.dataset_config import DatasetConfig
from srgan.errors import exit_code_of
from srgan.workspace import Workspace, prepare_environment

# Enough for the rendered portraits: the whole demo stays under ten minutes on two cores.
_MINUTES_FOR_PORTRAITS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0, or 2 with one line when something is wrong, 75 when it was interrupted."""
    options = _parser().parse_args(argv)
    if options.faces is None and options.max_minutes is None:
        options.max_minutes = _MINUTES_FOR_PORTRAITS
    workspace = prepare_environment()
    prepare_prefect(workspace)
    # The bars say the same, and the run's page has all of it.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

    def demo() -> int:
        # Before anything starts; the flow itself checks again.
        _dataset(options.crop)
        run_config(options.preset, tuple(options.set), DEFAULT_DATASET.scale, options.max_minutes)
        with locked(workspace.root / "demo.lock", f"a demo is running in {workspace.root} already"):
            return _run(options, workspace)

    return exit_code_of(demo, "stopped; the same command continues")


def _run(options: argparse.Namespace, workspace: Workspace) -> int:
    with prefect_for_us(workspace) as prefect:
        # Imported while the server starts: both take some seconds.
        from rich.console import Console

        from flows import foreground

        console = Console()
        console.print(f"workspace {workspace.root}", soft_wrap=True)
        prefect.wait()
        console.print(f"Prefect   {prefect.page} while this runs", soft_wrap=True)
        result = foreground.run_train_flow(
            console,
            image_set=options.faces,
            dataset=_dataset(options.crop),
            preset=options.preset,
            max_minutes=options.max_minutes,
            overrides=tuple(options.set),
        )
        pictures = foreground.enhance_sample(result, workspace)
        foreground.show(console, result, pictures, workspace)
    return 0


def _dataset(crop: str | None) -> DatasetConfig:
    if crop is None:
        return parse(DatasetConfig, {}, "dataset")
    return parse(DatasetConfig, {"crop_size" if crop.isdigit() else "crop": crop}, "--crop")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flows.demo", description=__doc__)
    parser.add_argument("--faces", metavar="IMAGE_SET", help="photos (default: own portraits)")
    parser.add_argument(
        "--crop",
        metavar="PIXELS|WORD",
        help="side of the central square that is used, or: faces, tiles, none",
    )
    parser.add_argument("--preset", default="faces-cpu", help="networks, losses and schedule")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="time budget of training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
