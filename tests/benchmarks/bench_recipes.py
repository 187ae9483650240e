"""What the presets reach on real faces, and which parts of the network it is due to.

    python -m tests.benchmarks.bench_recipes --faces <lfw> [--work FOLDER] [--write]

1. the table: two runs of `faces-cpu`, for 25 minutes, and for 10 + 20 with the GAN
2. the ablation: twelve networks, pre-trained for the same time each (--minutes)
3. contact sheets of test faces, in the work folder: LR, bicubic, pre-trained, GAN, HR

It takes about two hours, and goes on where it was stopped: finished runs are kept in the work
folder, a run that was stopped (Ctrl-C) continues. --piece N begins no new run after N minutes.
The page is written from the runs' files; --tables-only writes it from what is there.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import faces_runs
from tests.benchmarks.faces_runs import Finished, Plan
from tests.benchmarks.faces_tables import page
from tests.support import ROOT

PAGE = ROOT / "docs" / "benchmarks" / "faces.md"
PARTS = ("table", "ablation", "sheet")


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    os.environ["SRGAN_WORKSPACE"] = str(options.work.absolute())
    from srgan.workspace import prepare_environment

    workspace = prepare_environment()
    deadline = time.monotonic() + 60 * options.piece if options.piece else float("inf")
    extra = list(options.set)
    dataset = faces_runs.build_dataset(options.faces, workspace)

    def may_begin(plan: Plan) -> bool:
        """Whether there is time for a run; one that is finished takes none."""
        run = faces_runs.folder_of(plan, dataset, workspace, extra)
        return run.result.exists() or (not options.tables_only and time.monotonic() < deadline)

    runs = [faces_runs.read_run(folder) for folder in options.runs]
    if "table" in options.parts and not options.runs:
        for plan in filter(may_begin, faces_runs.recipes(options.scale)):
            run = faces_runs.train(plan, dataset, workspace, extra)
            runs.append(faces_runs.measured(run, plan.title))
            _say(runs[-1])
    if "ablation" in options.parts:
        for plan in filter(may_begin, faces_runs.cells(options.minutes)):
            run = faces_runs.train(plan, dataset, workspace, extra)
            _say(faces_runs.measured_cell(run, plan.title, dataset, workspace))
    if "sheet" in options.parts:
        _sheets(runs, options, workspace)
    ablation = faces_runs.finished_cells(options.minutes, dataset, workspace, extra)
    text = page(runs, ablation, len(faces_runs.cells(options.minutes)), _machine())
    print(text)
    if options.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text)


def _sheets(runs: Sequence[Finished], options: argparse.Namespace, workspace: object) -> None:
    """The faces of the last run that has a GAN."""
    from srgan.pipeline import keras_upscaler
    from srgan.quiet import start_tensorflow
    from srgan.records import open_dataset
    from srgan.runs import RunFolder
    from srgan.scores import MODEL, PRETRAIN
    from srgan.workspace import Workspace
    from tests.benchmarks.faces_sheet import write_sheets

    assert isinstance(workspace, Workspace)
    shown = [run for run in runs if "gan" in run.training.steps]
    if not shown:
        return
    start_tensorflow()
    training, run = shown[-1].training, RunFolder(shown[-1].training.folder)
    scale = training.config.generator.scale
    systems = {MODEL: keras_upscaler(run.generator, scale)}
    if len(training.steps) > 1:
        first = run.stage_generator("pretrain")
        systems = {PRETRAIN: keras_upscaler(first, scale), **systems}
    datasets = [open_dataset(reference.place) for reference in training.datasets]
    pages = write_sheets(
        options.work / "sheets",
        shown[-1].evaluation,
        systems,
        datasets,
        options.faces_shown,
        workspace,
    )
    print(f"{len(pages)} sheets: {pages[0].parent}", file=sys.stderr)


def _say(run: Finished) -> None:
    gain = run.evaluation.gain("psnr_y", run.evaluation.subject)
    print(f"{run.title}: psnr_y {gain:+.2f} dB over bicubic", file=sys.stderr)


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = ROOT.parent / "shared" / "data"
    shared = Path(os.environ.get("SRGAN_SHARED_DATA", shared))
    parser.add_argument("--faces", nargs="+", default=[str(shared / "faces" / "lfw")])
    parser.add_argument("--work", type=Path, default=ROOT / "workspace" / "bench-recipes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=5.0, help="of each cell of the ablation")
    parser.add_argument("--scale", type=float, default=1.0, help="shortens the runs of the table")
    parser.add_argument("--piece", type=float, default=0.0, help="minutes; no new run after them")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="table these runs instead")
    parser.add_argument("--faces-shown", type=int, default=50)
    parser.add_argument("--tables-only", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    return parser


if __name__ == "__main__":
    main()
