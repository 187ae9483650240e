"""The tasks of the flows. Each calls one function of ``beam_jobs`` or ``srgan`` and shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.logging import get_run_logger

from flows.artifacts import Progress, show_metrics, show_places
from flows.failures import is_hiccup
from flows.parameters import Stage
from srgan.config import RunConfig
from srgan.dataset_config import DatasetConfig
from srgan.workspace import Workspace

# Portraits of our own for a first run: enough people for three splits, rendered in 100 s by two
# processor cores.
PEOPLE, SHOTS = 160, 4
_REMOTE: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": is_hiccup,
    "result_serializer": "json",
}


@task(name="render portraits", task_run_name="render portraits", result_serializer="json")
def render_portraits() -> str:
    """The project's own image set, rendered once for a workspace."""
    from srgan.portraits import write_image_set

    folder = Workspace.from_environment().root / "image-sets" / "portraits"
    progress = Progress("portraits", "Portraits rendered")
    count = write_image_set(
        folder,
        people=PEOPLE,
        shots=SHOTS,
        workers=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        progress=lambda done, total: progress.show(done, total, f"{done} of {total}"),
    )
    get_run_logger().info("%d portraits in %s", count, folder)
    return str(folder)


@task(name="build dataset", task_run_name="build {config.name}", **_REMOTE)
def build_dataset(
    image_set: str, config: DatasetConfig, exclude: Sequence[str] = ()
) -> dict[str, Any]:
    """An image set as a dataset; one that is there already is not built again."""
    from beam_jobs.build_pairs import build

    progress = Progress("build", f"Dataset of {image_set}")
    result = build(
        image_set,
        str(Workspace.from_environment().datasets),
        config,
        exclude=exclude,
        progress=lambda p: progress.show(
            p.done, p.total, f"{p.stage}: {p.done} of {p.total}, {p.rejected} rejected"
        ),
    )
    manifest = result.dataset.manifest
    get_run_logger().info(
        "%s: %s (%d of %d sources used)",
        result.dataset.place,
        "already built" if result.already_built else f"built in {result.seconds:.1f} s",
        manifest.used_sources,
        manifest.inputs,
    )
    return {
        "place": result.dataset.place,
        "digest": result.dataset.digest,
        "records": dict(manifest.records),
        "rejected": manifest.rejected_sources,
        "already_built": result.already_built,
        "seconds": round(result.seconds, 3),
    }


@task(name="train", task_run_name="train {config.name}", **_REMOTE)
def train_model(
    config: RunConfig, datasets: list[str], stage: Stage, new: bool, initial: str | None
) -> dict[str, Any]:
    """Both stages of training; continues where an interrupted one stopped."""
    from srgan.pipeline import train_step
    from srgan.progress import describe

    progress = Progress("training", "Training")
    logger = get_run_logger()
    result = train_step(
        config,
        datasets,
        stage=stage,
        new=new,
        initial=initial,
        progress=lambda p: progress.show(
            p.step,
            p.steps,
            f"{p.stage} {p.step} of {p.steps}  {describe(p)}",
        ),
    )
    for note in result.notes:
        logger.warning("%s", note)
    logger.info("run %s: %s", result.run_id, result.folder)
    return {
        "run_id": result.run_id,
        "folder": str(result.folder),
        "steps": dict(result.steps),
        "seconds": dict(result.seconds),
        "notes": list(result.notes),
    }


@task(name="find start", task_run_name="find start", result_serializer="json")
def known_start(reference: str | None, scale: int) -> str | None:
    """``reference`` to start from, pinned to its version; ``None`` before there is a champion."""
    from srgan.registry import champion

    if reference != "champion":
        return reference
    found = champion(Workspace.from_environment(), scale)
    return found.uri if found else None


@task(name="evaluate", task_run_name="evaluate", **_REMOTE)
def evaluate_model(run_folder: str) -> dict[str, Any]:
    """Model, champion and bicubic on the same test images; the report."""
    from srgan.pipeline import evaluate_step
    from srgan.runs import RunFolder

    progress = Progress("evaluation", "Images measured")
    evaluation = evaluate_step(
        Path(run_folder),
        progress=lambda done, total: progress.show(done, total, f"{done} of {total}"),
    )
    run = RunFolder(Path(run_folder))
    show_metrics("metrics", evaluation, f"{evaluation.images} images of the {evaluation.split} set")
    show_places(
        "pictures",
        f"Run {run.path.name}",
        {"run": str(run.path), "report": str(run.report), "model": str(run.model)},
        [run.animation, run.curves],
    )
    return {
        "images": evaluation.images,
        "systems": evaluation.systems,
        "seconds": round(evaluation.seconds, 3),
        "report": str(run.report),
    }


@task(name="register", task_run_name="register", **_REMOTE)
def register_model(run_folder: str) -> dict[str, Any]:
    """A version in the MLflow registry, as challenger."""
    from srgan.pipeline import register_step

    began = time.perf_counter()
    version = register_step(Path(run_folder))
    get_run_logger().info("registered %s", version.uri)
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "seconds": round(time.perf_counter() - began, 3),
    }


@task(name="promote", task_run_name="promote", **_REMOTE)
def promote_model(run_folder: str) -> dict[str, Any]:
    """The challenger becomes champion where it is better."""
    from srgan.pipeline import promote_step

    began = time.perf_counter()
    decision = promote_step(Path(run_folder))
    verdict = "champion now" if decision.promoted else "stays challenger"
    get_run_logger().info("%s: %s", verdict, "; ".join(decision.reasons))
    return {
        "promoted": decision.promoted,
        "target": decision.target,
        "reasons": list(decision.reasons),
        "seconds": round(time.perf_counter() - began, 3),
    }
