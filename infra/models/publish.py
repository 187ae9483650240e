"""From a finished run to the files that come with the package."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.models.recipe import Recipe
from infra.models.slices import counting
from srgan.card import ModelCard, make_card
from srgan.checkpoints import load_generator
from srgan.errors import ModelError
from srgan.evaluation import Upscaler, evaluate
from srgan.export import from_generator, in_float32
from srgan.packed import Precision, load_packed, write_packed
from srgan.pipeline import run_card
from srgan.records import Dataset
from srgan.runs import RunFolder, TrainResult
from srgan.scores import BASELINE, MODEL, PRETRAIN, Evaluation, table
from srgan.workspace import Workspace

MAX_BYTES = 8 * 2**20
FULL = "float32"
# Means over a test split of some hundred faces differ by more than this from seed to seed.
NOISE: Mapping[str, float] = {
    "psnr_y": 0.01,
    "psnr_rgb": 0.01,
    "ssim_y": 0.0005,
    "lpips_alex": 0.0005,
    "identity_distance": 0.001,
    "identity_kept": 0.005,
}


def publish(
    recipe: Recipe,
    result: TrainResult,
    datasets: Sequence[Dataset],
    target: Path,
    workspace: Workspace,
    say: Callable[[str], None],
) -> Path:
    """Pack the run's generator, measure it as packed, and put it with its card at ``target``.

    Raises :class:`ModelError` when it is larger than :data:`MAX_BYTES` or no better than bicubic.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".make-", dir=target.parent) as name:
        folder = Path(name) / target.name
        precision, evaluation, change = _measured(result, datasets, folder, workspace, say)
        card = _card(recipe, result, datasets, evaluation, precision, change)
        generator = load_generator(RunFolder(result.folder).generator)
        write_packed(generator, folder, card, precision)
        load_packed(folder)
        _check(folder, evaluation)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    for row in table(evaluation):
        say("  ".join(f"{cell:<18}" for cell in row))
    return target


def _measured(
    result: TrainResult,
    datasets: Sequence[Dataset],
    folder: Path,
    workspace: Workspace,
    say: Callable[[str], None],
) -> tuple[Precision, Evaluation, Mapping[str, float]]:
    """The precision of the weights, what the packed model reaches, and what packing changed."""
    run = RunFolder(result.folder)
    generator = load_generator(run.generator)
    unmeasured = make_card(result.config, datasets, None, run_id=result.run_id, steps={})
    write_packed(generator, folder, unmeasured, "float16")
    systems: dict[str, Upscaler] = {}
    if len(result.steps) > 1:
        pretrained = in_float32(load_generator(run.stage_generator("pretrain")))
        systems[PRETRAIN] = from_generator(pretrained, run.path)
    systems |= {MODEL: load_packed(folder), FULL: from_generator(in_float32(generator), run.path)}
    say("measuring the packed model")
    measured = evaluate(
        systems,
        datasets,
        result.config.evaluation,
        workspace=workspace,
        progress=counting(say, "measured"),
    )
    change = {
        name: measured.systems[MODEL][name] - measured.systems[FULL][name]
        for name in measured.measured
    }
    for name, by in change.items():
        say(f"float16 changes {name} by {by:+.6f} (noise: {NOISE[name]:g})")
    if all(abs(by) <= NOISE[name] for name, by in change.items()):
        return "float16", _only(measured, {FULL: None}), change
    say("that is more than noise: the weights stay float32")
    return "float32", _only(measured, {MODEL: None, FULL: MODEL}), {}


def _only(evaluation: Evaluation, names: Mapping[str, str | None]) -> Evaluation:
    """The evaluation with systems renamed, or left out where the new name is ``None``."""

    def kept(systems: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        renamed = {names.get(name, name): figures for name, figures in systems.items()}
        return {name: figures for name, figures in renamed.items() if name is not None}

    return evaluation.model_copy(
        update={
            "systems": kept(evaluation.systems),
            "slices": {
                name: part.model_copy(update={"systems": kept(part.systems)})
                for name, part in evaluation.slices.items()
            },
            "per_image": [
                row.model_copy(update={"metrics": kept(row.metrics)})
                for row in evaluation.per_image
            ],
        }
    )


def _card(
    recipe: Recipe,
    result: TrainResult,
    datasets: Sequence[Dataset],
    evaluation: Evaluation,
    precision: Precision,
    change: Mapping[str, float],
) -> ModelCard:
    card = run_card(result, datasets, evaluation)
    changes = ", ".join(f"{name} {by:+.5f}" for name, by in change.items())
    weights = f"{precision}, computed in float32" + (f" (changes: {changes})" if change else "")
    hours = sum(result.seconds.values()) / 3600
    return card.model_copy(
        update={
            "title": recipe.title,
            "intended_use": recipe.intended_use,
            "limits": recipe.limits,
            "data_terms": recipe.data_terms,
            "training": {
                "Time": f"{hours:.1f} hours in {result.precision}",
                "Hardware": hardware(),
                "Weights": weights,
            },
            # Its name, not where it lay on the machine of the training.
            "datasets": [
                described.model_copy(update={"place": Path(described.place).name})
                for described in card.datasets
            ],
        }
    )


def hardware() -> str:
    """The processor and, where there are some, the GPUs."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", "GPU")
        for device in tf.config.list_physical_devices("GPU")
    ]
    lines = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(": ")[2] for line in lines.splitlines() if "model name" in line]
    cpu = (models or [platform.processor() or platform.machine()])[0]
    return ", ".join([*gpus, f"{os.cpu_count()} cores of {cpu}"])


def _check(folder: Path, evaluation: Evaluation) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MAX_BYTES:
        raise ModelError(
            f"{folder.name}: {size:,} bytes; a packaged model has {MAX_BYTES:,} at most"
        )
    target = evaluation.target
    if evaluation.gain(target, MODEL) <= 0:
        mine, bicubic = (evaluation.systems[name][target] for name in (MODEL, BASELINE))
        raise ModelError(
            f"{folder.name}: {target} {mine:.4f} is no better than bicubic's {bicubic:.4f}; "
            "train longer"
        )
