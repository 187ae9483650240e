"""docs/benchmarks/faces.md from finished runs: pure functions to Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from srgan.metrics import METRICS
from srgan.scores import BASELINE, MODEL, Systems
from tests.benchmarks.faces_runs import Finished

SHOWN = ("psnr_y", "ssim_y", "lpips_alex", "identity_distance")
_STAGES = {"pretrain": "pre-training", "gan": "GAN"}


def page(runs: Sequence[Finished], ablation: Sequence[Finished], planned: int, machine: str) -> str:
    """The whole file. ``planned`` is the number of cells that the ablation has in all."""
    lines = [
        "# Faces x4: what the presets reach",
        "",
        "Labeled Faces in the Wild, the central 128 pixels of each photo, made four times smaller "
        "by bicubic reduction. No person is in two splits. *Sharpest* is the quarter of the test "
        "split with the most detail: photos that were blurred before they came here cannot tell "
        "one system from another. Metrics are defined in "
        "[`srgan/metrics.py`](../../srgan/metrics.py); in brackets what is gained over bicubic.",
        "",
    ]
    for run in runs:
        lines += [*_run_section(run), ""]
    if ablation:
        lines += [*_ablation_section(ablation, planned), ""]
    lines += [
        f"Machine: {machine}. Written from the runs' own files by "
        "`python -m tests.benchmarks.bench_recipes --write`.",
    ]
    return "\n".join(lines) + "\n"


def _run_section(run: Finished) -> Iterator[str]:
    yield f"## {run.title[:1].upper()}{run.title[1:]}"
    yield ""
    yield f"{_effort(run)}."
    parts = [(f"All {run.evaluation.images} photos of the test split", run.evaluation.systems)]
    parts += [
        (f"{part.title[:1].upper()}{part.title[1:]}: {part.images} photos", part.systems)
        for part in run.evaluation.slices.values()
    ]
    for title, systems in parts:
        yield ""
        yield f"**{title}**"
        yield ""
        yield from _table(systems, gan="gan" in run.training.steps)
    for name, reason in run.evaluation.not_measured.items():
        if name in SHOWN:
            yield ""
            yield f"Not measured: {name} ({reason})."


def _effort(run: Finished) -> str:
    """Steps, minutes, speed and precision, as the run itself wrote them down."""
    training = run.training
    stages = [
        f"{_STAGES[stage]} {steps:,} steps in {training.seconds[stage] / 60:.1f} minutes "
        f"({training.seconds[stage] / max(1, steps):.3f} s a step)"
        for stage, steps in training.steps.items()
    ]
    return f"Run `{training.run_id}`, {training.precision}: {', then '.join(stages)}"


def _table(systems: Systems, *, gan: bool) -> Iterator[str]:
    measured = [name for name in SHOWN if name in systems[BASELINE]]
    yield f"| | {' | '.join(f'`{name}`' for name in measured)} |"
    yield "|---" * (len(measured) + 1) + "|"
    last = "GAN" if gan else "pre-trained"
    titles = {BASELINE: "bicubic", "pretrain": "pre-trained", MODEL: last}
    for system, values in systems.items():
        figures = [_figure(systems, name, values[name], system) for name in measured]
        yield f"| {titles.get(system, system)} | {' | '.join(figures)} |"


def _figure(systems: Systems, name: str, value: float, system: str) -> str:
    metric = METRICS[name]
    if system == BASELINE:
        return metric.show(value)
    gain = metric.gain(value, systems[BASELINE][name])
    return f"{metric.show(value)} ({gain:+.{metric.digits}f})"


def _ablation_section(ablation: Sequence[Finished], planned: int) -> Iterator[str]:
    minutes = ablation[0].training.config.trainer.max_minutes
    filters = ablation[0].training.config.generator.filters
    blocks = ablation[0].training.config.generator.blocks
    yield "## Ablation at equal time"
    yield ""
    yield (
        f"{blocks} blocks of {filters} filters, pre-trained for {minutes:g} minutes each with the "
        "settings of `faces-cpu`: normalisation in the generator, how it enlarges, and whether it "
        "learns the image or the residual over the bicubic one. Gains over bicubic, best first."
    )
    if len(ablation) < planned:
        yield ""
        yield f"{len(ablation)} of {planned} combinations have been run."
    yield ""
    yield (
        "| norm | upsample | base | s a step | steps | `psnr_y` | on the sharpest | `lpips_alex` |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for run in sorted(ablation, key=lambda run: -run.evaluation.gain("psnr_y", MODEL)):
        generator, evaluation = run.training.config.generator, run.evaluation
        steps = run.training.steps["pretrain"]
        sharpest = evaluation.slices.get("sharpest")
        on_sharpest = "–"
        if sharpest is not None:
            systems = sharpest.systems
            on_sharpest = f"{systems[MODEL]['psnr_y'] - systems[BASELINE]['psnr_y']:+.2f} dB"
        perceived = evaluation.systems[MODEL].get("lpips_alex")
        yield (
            f"| {generator.norm} | {generator.upsample} | {generator.base} | "
            f"{run.training.seconds['pretrain'] / max(1, steps):.3f} | {steps:,} | "
            f"{evaluation.gain('psnr_y', MODEL):+.2f} dB | {on_sharpest} | "
            f"{'–' if perceived is None else f'{perceived:.4f}'} |"
        )
