"""Flow ``srgan-evaluate``: a registered model on datasets."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.artifacts import Progress, show_metrics
from flows.failures import failed, log_errors_in_one_line
from flows.parameters import DEFAULT_EVALUATION
from srgan.config import EvaluationConfig
from srgan.errors import SrganError
from srgan.workspace import Workspace, prepare_environment


@flow(name="srgan-evaluate", flow_run_name="{model}", result_serializer="json")
def evaluate(
    datasets: Annotated[tuple[str, ...], Field(min_length=1)],
    model: str = "champion",
    evaluation: EvaluationConfig = DEFAULT_EVALUATION,
) -> dict[str, Any] | State[Any]:
    """Measure a model against bicubic on the same images.

    1. load the model and check it against its card
    2. measure it on the datasets' test (or validation) images; show the table

    Args:
        datasets: Places of built datasets: folders or gs:// prefixes.
        model: champion, challenger, models:/NAME/VERSION, or a folder with an exported model.
        evaluation: What is measured.
    """
    prepare_environment()
    log_errors_in_one_line()
    try:
        return measure(model, list(datasets), evaluation)
    except SrganError as error:
        return failed(error)


@task(name="measure", task_run_name="measure {model}", result_serializer="json")
def measure(model: str, datasets: list[str], evaluation: EvaluationConfig) -> dict[str, Any]:
    """The model of the given reference on datasets, as means of each metric."""
    from srgan.evaluation import evaluate as evaluate_systems
    from srgan.records import open_dataset
    from srgan.registry import resolve_model

    workspace = Workspace.from_environment()
    opened = [open_dataset(place) for place in datasets]
    exported = resolve_model(model, workspace, scale=opened[0].manifest.config.scale)
    progress = Progress("evaluation", "Images measured")
    result = evaluate_systems(
        {"model": exported},
        opened,
        evaluation,
        workspace=workspace,
        progress=lambda done, total: progress.show(done, total, f"{done} of {total}"),
    )
    show_metrics("metrics", result, f"{model} on {result.images} images")
    return {"images": result.images, "systems": result.systems, "seconds": result.seconds}
