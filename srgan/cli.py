"""The ``srgan`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srgan.cli_dataset import app as dataset_app
from srgan.errors import ModelError, exit_code_of

if TYPE_CHECKING:
    from srgan.evaluation import Evaluation

# runs.StageChoice, spelled out: importing it here would make `srgan --help` slower.
StageChoice = Literal["all", "pretrain", "gan"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Face super-resolution with SRGAN: train, evaluate, upscale, and keep models.",
)
models = typer.Typer(no_args_is_help=True, help="Registered models: what there is, and where.")
app.add_typer(models, name="models")
app.add_typer(dataset_app, name="dataset")

Data = Annotated[
    list[str],
    typer.Option(
        "--data", metavar="DATASET", help="Place of a dataset; may be given several times."
    ),
]


@app.command()
def train(
    data: Data,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="faces-cpu, faces-gpu, seed, srresnet, srgan, esrgan, tiny, or a YAML file.",
        ),
    ] = "faces-cpu",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, e.g. gan.steps=2000; may be given several times.",
        ),
    ] = None,
    stage: Annotated[
        StageChoice,
        typer.Option(metavar="STAGE", help="pretrain, gan, or all: one after the other."),
    ] = "all",
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Time for all stages; becomes a number of steps once their speed is measured. "
            "0: the preset's steps. Not given: what the preset says.",
        ),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from champion, models:/NAME/N, faces-x4 or a .keras file.",
        ),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin anew, though a run with these settings is there.")
    ] = False,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Neither evaluate nor register.")
    ] = False,
) -> None:
    """Train a generator; evaluate, register and, where it is better, promote it.

    Ctrl-C or SIGTERM saves everything and ends with code 75; the same command goes on from there,
    and repeats no finished step.
    """
    from rich.console import Console

    from srgan.config import load_run_config
    from srgan.pipeline import train_step
    from srgan.progress import TrainingBar

    overrides = list(set_ or [])
    if max_minutes is not None:
        overrides.append(f"trainer.max_minutes={max_minutes}")
    config = load_run_config(preset, overrides)
    console = Console()
    with TrainingBar(console) as bar:
        result = train_step(
            config,
            data,
            stage=stage,
            new=new,
            initial=initial,
            evaluated=not train_only,
            progress=bar,
        )
    for note in result.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False, highlight=False)
    steps = ", ".join(f"{stage} {steps:,} steps" for stage, steps in result.steps.items())
    console.print(f"trained {result.run_id}: {steps}; {result.folder}", soft_wrap=True)
    if not train_only:
        _finish(result.folder)


@app.command()
def draw(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its folder.")],
    gif: Annotated[bool, typer.Option("--gif", help="Also the animation as progress.gif.")] = False,
) -> None:
    """Draw the curves and the animation of a run as far as it has come, running or stopped."""
    from srgan import animation, curves
    from srgan.errors import TrainingError
    from srgan.metricslog import read_metrics
    from srgan.runs import RunFolder
    from srgan.workspace import Workspace

    runs = Workspace.from_environment().runs
    folder = RunFolder(next((p for p in (Path(run), runs / run) if p.is_dir()), runs / run))
    if next(read_metrics(folder.metrics), None) is None:
        raise TrainingError(f"{run}: no run with metrics here or in {runs}; give its id or folder")
    curves.draw(folder.metrics, folder.curves)
    typer.echo(folder.curves)
    if any(folder.samples.glob("hr.png")):
        films = [folder.animation, *([folder.animation.with_suffix(".gif")] if gif else [])]
        for film in films:
            animation.write(folder.samples, film)
            typer.echo(film)


@app.command()
def evaluate(
    data: Data,
    model: Annotated[
        str, typer.Option(help="champion, challenger, models:/…, faces-x4, a folder, a .keras.")
    ] = "champion",
    split: Annotated[Literal["test", "val"], typer.Option(help="Which part is measured.")] = "test",
    max_images: Annotated[int, typer.Option(min=0, help="0: all.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json and per_image.csv.")
    ] = None,
) -> None:
    """Measure a model on datasets, bicubic beside it on the same images."""
    from srgan.config import EvaluationConfig
    from srgan.evaluation import MODEL, write_evaluation
    from srgan.evaluation import evaluate as measure
    from srgan.progress import CountBar
    from srgan.quiet import start_tensorflow
    from srgan.records import open_dataset
    from srgan.registry import resolve_model
    from srgan.workspace import Workspace

    config = EvaluationConfig(split=split, max_images=max_images)
    workspace = Workspace.from_environment()
    datasets = [open_dataset(place) for place in data]
    scale = datasets[0].manifest.config.scale
    start_tensorflow()
    system = resolve_model(model, workspace, scale=scale)
    with CountBar("measured") as progress:
        evaluation = measure(
            {MODEL: system}, datasets, config, workspace=workspace, progress=progress
        )
    _print_table(evaluation)
    if output is not None:
        write_evaluation(str(output), evaluation)
        typer.echo(f"written: {output}")


@app.command()
def upscale(
    source: Annotated[str, typer.Argument(metavar="IN", help="A photo, or a folder of photos.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="A photo, or a folder.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="champion, challenger, models:/…, faces-x4, faces-x4-real, an exported folder or "
            "a .keras file. Left out: the champion, else faces-x4-real where it is packaged."
        ),
    ] = None,
    scale: Annotated[int, typer.Option(help="Which champion: 2, 4 or 8 times.")] = 4,
    tile: Annotated[int, typer.Option(min=16, help="Side of a tile in source pixels.")] = 192,
    suffix: Annotated[
        str | None, typer.Option(help="Format in a folder, such as .png; empty: the photo's own.")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave photos that are there already.")
    ] = False,
) -> None:
    """Enlarge photos of any size; names, orientation, transparency and colours are kept.

    It invents plausible detail: not for identification, evidence or medicine.
    """
    from srgan.config import parse
    from srgan.model_choice import choose_model
    from srgan.progress import CountBar
    from srgan.quiet import start_tensorflow
    from srgan.registry import resolve_model
    from srgan.upscale import UpscaleOptions, plan
    from srgan.upscale import upscale as enlarge
    from srgan.workspace import Workspace

    options = parse(
        UpscaleOptions, {"tile": tile, "suffix": suffix, "skip_existing": skip_existing}, "upscale"
    )
    # What cannot be read or written is said before a model is loaded.
    plan(source, target, options)
    workspace = Workspace.from_environment()
    choice = choose_model(model, workspace, scale=scale)
    start_tensorflow()
    loaded = resolve_model(choice.reference, workspace, scale=scale)
    typer.echo(f"model: {choice.reference} ({choice.reason})")
    with CountBar("upscaled") as bar:
        summary = enlarge(source, target, loaded, options, progress=lambda p: bar(p.done, p.total))
    for failure in summary.failures:
        typer.echo(f"not upscaled: {failure.name}: {failure.reason} ({failure.detail})", err=True)
    typer.echo(
        f"{summary.done} upscaled, {summary.skipped} skipped, {len(summary.failures)} failed "
        f"in {summary.seconds:.1f} s; {target}"
    )
    raise typer.Exit(summary.exit_code)


@models.command("list")
def list_models() -> None:
    """All versions with their aliases and figures, the newest first."""
    from rich.console import Console
    from rich.table import Table

    from srgan.registry import list_versions
    from srgan.workspace import Workspace

    versions = list_versions(Workspace.from_environment())
    if not versions:
        typer.echo("no model is registered yet; train one with `srgan train --data <dataset>`")
        return
    table = Table("model", "alias", "psnr_y", "ssim_y", "lpips_alex", "run")
    for version in versions:
        figures = [version.tags.get(name, "") for name in _FIGURES]
        table.add_row(version.uri, ", ".join(version.aliases), *figures, version.run_id)
    Console().print(table)


@models.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="champion, challenger, models:/… or faces-x4.")],
) -> None:
    """The model card of a registered or packaged model."""
    from srgan.card import card_text
    from srgan.registry import resolve_model
    from srgan.workspace import Workspace

    card = resolve_model(model, Workspace.from_environment()).card
    if card is None:
        raise ModelError(f"{model}: has no model card; give a model that was evaluated")
    typer.echo(card_text(card))


_FIGURES = ("psnr_y", "ssim_y", "lpips_alex")


def _finish(folder: Path) -> None:
    """Evaluate, register and promote a trained run, and say what came of it."""
    from srgan.pipeline import evaluate_step, promote_step, register_step
    from srgan.progress import CountBar
    from srgan.runs import RunFolder

    with CountBar("measured") as progress:
        evaluation = evaluate_step(folder, progress=progress)
    _print_table(evaluation)
    version = register_step(folder)
    decision = promote_step(folder)
    verdict = "champion" if decision.promoted else "challenger, not promoted"
    typer.echo(f"{version.uri}: {verdict} ({'; '.join(decision.reasons)})")
    typer.echo(f"report: {RunFolder(folder).report}")


def _print_table(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    from srgan.scores import table

    heading, *rows = table(evaluation)
    shown = Table(*heading, title=f"{evaluation.images} images of the {evaluation.split} split")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def main() -> None:
    """Entry point: an error that a person can act on is one line and an exit code, no traceback."""
    from srgan.workspace import prepare_environment

    prepare_environment()
    # Typer ends the process itself where all is well.
    sys.exit(exit_code_of(app, "stopped"))


if __name__ == "__main__":
    main()
