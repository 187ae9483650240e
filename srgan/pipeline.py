"""The steps from datasets to a champion, shared by the command line and the flows.

Each step is idempotent: its last act is to write its result into the run's folder, and called
again it returns what stands there. So a pipeline that was killed anywhere is started again, and
repeats no finished step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from srgan import storage
from srgan.config import RunConfig
from srgan.errors import DatasetError, ModelError, TrainingError
from srgan.frozen import Frozen
from srgan.quiet import start_tensorflow
from srgan.records import Dataset, open_dataset
from srgan.runs import RunFolder, StageChoice, TrainResult
from srgan.scores import CHAMPION, MODEL, PRETRAIN, Evaluation, read_evaluation, write_evaluation
from srgan.workspace import Workspace

if TYPE_CHECKING:
    from srgan.card import ModelCard
    from srgan.evaluation import Upscaler
    from srgan.gate import Decision
    from srgan.progress import TrainProgress
    from srgan.registry import Version
    from srgan.trainer import TrainingListener

CountProgress = Callable[[int, int], None]


class Comparison(Frozen):
    """``comparison.json``: against which champion a run was evaluated; written last."""

    champion: str | None
    weights_sha256: str


class Promotion(Frozen):
    """``promotion.json``: what the gate decided about the run's version."""

    version: str
    compared_with: str | None
    promoted: bool
    target: str
    reasons: list[str]
    figures: dict[str, dict[str, float]]


def train_step(
    config: RunConfig,
    datasets: Sequence[str],
    *,
    stage: StageChoice = "all",
    new: bool = False,
    initial: str | None = None,
    evaluated: bool = True,
    progress: Callable[[TrainProgress], None] | None = None,
    listeners: Sequence[TrainingListener] = (),
) -> TrainResult:
    """Train on the datasets at these places and track the run in MLflow.

    ``initial`` is a registered model (``champion``, ``models:/…``), a packaged one by its name,
    the folder of an exported one, or a ``.keras`` file. ``evaluated`` says that the evaluation
    follows: what it needs is checked before the training, not after.
    """
    from srgan.mlflow_store import check_connection

    workspace = Workspace.from_environment()
    opened = [open_dataset(place) for place in datasets]
    if evaluated:
        _check_measurable(config, opened)
    # Now, and not after an hour of training.
    check_connection(workspace)
    path, name = _initial_generator(initial, config, workspace)

    start_tensorflow()
    from srgan.progress import CallbackListener
    from srgan.tracking import MlflowTracker
    from srgan.trainer import train

    with MlflowTracker(workspace, opened) as tracker:
        everyone = [tracker, *listeners]
        if progress is not None:
            everyone.append(CallbackListener(progress))
        return train(
            config,
            opened,
            workspace,
            stage=stage,
            new=new,
            initial=path,
            initial_name=name,
            listeners=everyone,
        )


def evaluate_step(folder: Path, *, progress: CountProgress | None = None) -> Evaluation:
    """Export the run's generator and measure it beside bicubic and the present champion.

    Writes ``model/`` with its card, ``evaluation.json``, ``per_image.csv`` and ``report.html``,
    and sends them to MLflow. A champion that came since is measured as well: then everything is
    measured again.
    """
    workspace, run = Workspace.from_environment(), RunFolder(folder)
    result = _finished(run)
    present = _rival(result, workspace)
    done = _read(Comparison, folder / "comparison.json")
    if done is not None and done.champion == (present.uri if present else None):
        return read_evaluation(str(folder))

    start_tensorflow()
    from srgan.card import write_card
    from srgan.evaluation import evaluate
    from srgan.tracking import log_results

    datasets = _datasets(result)
    systems = _systems(run, result, present, workspace)
    evaluation = evaluate(
        systems, datasets, result.config.evaluation, workspace=workspace, progress=progress
    )
    write_evaluation(str(folder), evaluation)
    write_card(run.model, run_card(result, datasets, evaluation))
    _write_report(run, result, evaluation, systems, datasets, workspace)
    log_results(result.run_id, folder, result.config, datasets, evaluation, workspace)
    comparison = Comparison(
        champion=present.uri if present else None,
        weights_sha256=storage.sha256_of(str(run.generator)),
    )
    storage.write_bytes(str(folder / "comparison.json"), comparison.model_dump_json().encode())
    return evaluation


def run_card(result: TrainResult, datasets: Sequence[Dataset], evaluation: Evaluation) -> ModelCard:
    """The card of the generator that a run ended with."""
    from srgan.card import make_card

    return make_card(
        result.config,
        datasets,
        evaluation,
        run_id=result.run_id,
        steps={str(stage): steps for stage, steps in result.steps.items()},
        notes=result.notes,
    )


def register_step(folder: Path) -> Version:
    """Register the evaluated model; a run whose model is registered keeps its version."""
    from srgan.registry import register

    run = RunFolder(folder)
    _finished(run)
    if _read(Comparison, folder / "comparison.json") is None:
        raise ModelError(f"{folder}: not evaluated yet; evaluate the run before registering it")
    return register(run.model, Workspace.from_environment())


def promote_step(folder: Path) -> Decision:
    """Make the run's version challenger, and champion where it is better; write that down.

    The decision and its reasons go to the version's tags and into the report, yes or no.
    """
    from srgan.gate import Decision, decide, promote
    from srgan.registry import find_version

    workspace, run = Workspace.from_environment(), RunFolder(folder)
    result = _finished(run)
    version = register_step(folder)
    comparison = _read(Comparison, folder / "comparison.json")
    assert comparison is not None
    done = _read(Promotion, folder / "promotion.json")
    if done and (done.version, done.compared_with) == (version.uri, comparison.champion):
        return Decision(done.promoted, done.target, done.reasons, done.figures)
    rival = find_version(comparison.champion, workspace) if comparison.champion else None
    evaluation = read_evaluation(str(folder))
    decision = promote(version, evaluation, result.config.gate, workspace, compared_with=rival)

    from srgan.tracking import log_results

    datasets = _datasets(result)
    systems = _systems(run, result, rival, workspace)
    _write_report(run, result, evaluation, systems, datasets, workspace, version, decision)
    log_results(result.run_id, folder, result.config, datasets, None, workspace)
    by_figures = decide(evaluation, result.config.gate, has_champion=rival is not None)
    if by_figures.promoted and not decision.promoted:
        # The load check failed, perhaps for the hour only: the step stays open.
        return decision
    promotion = Promotion(
        version=version.uri,
        compared_with=comparison.champion,
        promoted=decision.promoted,
        target=decision.target,
        reasons=decision.reasons,
        figures=decision.figures,
    )
    storage.write_bytes(str(folder / "promotion.json"), promotion.model_dump_json().encode())
    return decision


def _check_measurable(config: RunConfig, datasets: Sequence[Dataset]) -> None:
    split = config.evaluation.split
    if not any(dataset.manifest.records.get(split, 0) for dataset in datasets):
        places = ", ".join(dataset.place for dataset in datasets)
        raise DatasetError(
            f"{places}: the {split} split is empty, so the model could not be measured; build from "
            f"more groups (people) or with a larger {split}_fraction"
        )


def _finished(run: RunFolder) -> TrainResult:
    result = run.read_result()
    if result is None:
        raise TrainingError(
            f"{run.path}: no finished training here; run `srgan train` with the same settings "
            "until it ends"
        )
    return result


def _rival(result: TrainResult, workspace: Workspace) -> Version | None:
    """The champion that a run has to beat: none, where it is the champion itself."""
    from srgan.registry import champion

    present = champion(workspace, result.config.generator.scale)
    if present is not None and present.run_id == result.run_id:
        stored = _read(Comparison, result.folder / "comparison.json")
        from srgan.registry import find_version

        return find_version(stored.champion, workspace) if stored and stored.champion else None
    return present


def _datasets(result: TrainResult) -> list[Dataset]:
    """The run's datasets, which must be those that it was trained on."""
    datasets = []
    for reference in result.datasets:
        dataset = open_dataset(reference.place)
        if dataset.digest != reference.digest:
            raise DatasetError(
                f"{reference.place}: digest {dataset.digest[:12]}… is not that of the dataset "
                f"that the run was trained on ({reference.digest[:12]}…); restore it"
            )
        datasets.append(dataset)
    return datasets


def _systems(
    run: RunFolder, result: TrainResult, rival: Version | None, workspace: Workspace
) -> Mapping[str, Upscaler]:
    """What is measured beside bicubic: the pre-trained generator, the model, the champion."""
    from srgan.export import export_model, load_exported
    from srgan.registry import load_version

    systems: dict[str, Upscaler] = {}
    if len(result.steps) > 1:
        systems[PRETRAIN] = keras_upscaler(
            run.stage_generator("pretrain"), result.config.generator.scale
        )
    if not run.model.exists():
        from srgan.checkpoints import load_generator

        export_model(load_generator(run.generator), run.model)
    # A killed writer's leftover would be refused as a file that no model has.
    storage.delete_temporaries(str(run.model))
    systems[MODEL] = load_exported(run.model, unverified=True)
    if rival is not None:
        systems[CHAMPION] = load_version(rival, workspace)
    return systems


def keras_upscaler(path: Path, scale: int) -> Upscaler:
    """A generator's ``.keras`` file as a system that can be measured."""
    import numpy as np

    from srgan.checkpoints import load_generator
    from srgan.images import Pixels, to_uint8, to_unit
    from srgan.networks.luma import upscale_rgb

    generator = load_generator(path)

    def upscale(batch: Pixels) -> Pixels:
        signed = np.asarray(upscale_rgb(generator, to_unit(batch), scale), dtype=np.float32)
        return to_uint8((signed + 1.0) * 0.5)

    return upscale


def _write_report(
    run: RunFolder,
    result: TrainResult,
    evaluation: Evaluation,
    systems: Mapping[str, Upscaler],
    datasets: Sequence[Dataset],
    workspace: Workspace,
    version: Version | None = None,
    decision: Decision | None = None,
) -> None:
    from srgan.evaluation import gallery
    from srgan.report import RunSummary, write_report

    facts = {
        "Steps": ", ".join(f"{steps:,} {stage}" for stage, steps in result.steps.items()),
        "Training": f"{sum(result.seconds.values()) / 60:.1f} min in {result.precision}",
        "Devices": str(result.replicas),
    }
    if result.initial:
        facts["Started from"] = result.initial
    if decision is not None:
        verdict = "champion" if decision.promoted else "challenger, not promoted"
        facts["Gate"] = f"{verdict}: {'; '.join(decision.reasons)}"
    summary = RunSummary(
        name=result.config.name,
        run_id=result.run_id,
        config=run.config.read_text("utf-8"),
        datasets=datasets,
        notes=result.notes,
        facts=facts,
        curves=run.curves,
        progress=run.animation,
        version=version.uri if version else None,
    )
    pictures = gallery(
        evaluation, systems, datasets, result.config.evaluation.gallery, workspace=workspace
    )
    write_report(run.report, evaluation, pictures, title=f"Run {result.run_id}", run=summary)


def _initial_generator(
    reference: str | None, config: RunConfig, workspace: Workspace
) -> tuple[Path | None, str | None]:
    """The ``.keras`` file to start from and its name in the lineage."""
    if reference is None:
        return None, None
    path = Path(reference).expanduser()
    if path.suffix == ".keras":
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give a .keras file or a registered model")
        return path.absolute(), f"{path.name} {storage.sha256_of(str(path))[:12]}"
    from srgan.export import weights_digest
    from srgan.packed import as_keras_file, is_packed
    from srgan.registry import find_version, load_version, resolve_model
    from srgan.shipped import shipped_folder, shipped_names

    packed = shipped_folder() / reference if reference in shipped_names() else path
    if is_packed(packed):
        start_tensorflow()
        file = as_keras_file(packed, workspace.cache / "models")
        return file, f"{packed.name} {file.stem[:12]}"
    if path.is_dir():
        folder = resolve_model(reference, workspace).folder
        return folder / "generator.keras", f"{path.name} {weights_digest(folder)[:12]}"
    version = find_version(reference, workspace, scale=config.generator.scale)
    return load_version(version, workspace).folder / "generator.keras", version.uri


def _read(model: type[Any], path: Path) -> Any:
    """A step's result, ``None`` where the step has not finished."""
    if not path.exists():
        return None
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError:
        raise TrainingError(f"{path}: damaged; remove it, and the step is done again") from None
