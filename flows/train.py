"""Flow ``srgan``: from photos to a registered, gated model."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows import tasks
from flows.failures import failed, log_errors_in_one_line
from flows.parameters import DEFAULT_DATASET, Override, Preset, Stage, run_config
from srgan.dataset_config import DatasetConfig
from srgan.errors import SrganError
from srgan.storage import base_name
from srgan.workspace import prepare_environment


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    source = base_name(parameters.get("image_set") or "portraits")
    return f"{parameters.get('preset')} on {source}"


@flow(name="srgan", flow_run_name=_run_name, result_serializer="json", log_prints=False)
def train(
    image_set: str | None = None,
    preset: Preset = "faces-cpu",
    max_minutes: Annotated[float | None, Field(ge=0)] = None,
    overrides: tuple[Override, ...] = (),
    dataset: DatasetConfig = DEFAULT_DATASET,
    extra_datasets: tuple[str, ...] = (),
    stage: Stage = "all",
    initial: str | None = None,
    new: bool = False,
) -> dict[str, Any] | State[Any]:
    """Train a model on an image set and promote it when it is better than the champion.

    1. check the settings
    2. build the dataset of LR/HR pairs (without an image set: of portraits rendered here)
    3. train, from where an interrupted run of the same settings stopped
    4. evaluate against bicubic and the champion; write the report
    5. register the version
    6. promote it where it is better

    Args:
        image_set: Folder, glob, zip, tar or gs:// prefix with photos. Empty: the project's own
            portraits.
        preset: Networks, losses and schedule.
        max_minutes: Time budget of training. Empty: the preset's; 0: by steps.
        overrides: Single settings of the preset, as key=value, such as pretrain.batch=32.
        dataset: How photos become LR/HR pairs.
        extra_datasets: Places of datasets that are already built, to train on as well. Photos that
            they have are left out of the new one.
        stage: Both stages, the pre-training alone, or the GAN alone (needs initial).
        initial: Model to start from, such as champion or models:/srgan-faces/3.
        new: Start afresh where a run with the same settings exists.
    """
    prepare_environment()
    log_errors_in_one_line()
    try:
        config = run_config(preset, overrides, dataset.scale, max_minutes)
        source = image_set or tasks.render_portraits()
        if image_set is None:
            # Rendered skin is soft by nature: that is no fault of the picture.
            dataset = dataset.model_copy(update={"min_sharpness": 0.0})
        built = tasks.build_dataset(source, dataset, extra_datasets)
        places = [built["place"], *extra_datasets]
        trained = tasks.train_model(config, places, stage, new, initial)
        evaluated = tasks.evaluate_model(trained["folder"])
        registered = tasks.register_model(trained["folder"])
        promoted = tasks.promote_model(trained["folder"])
    except SrganError as error:
        return failed(error)
    return {
        "dataset": built,
        "training": trained,
        "evaluation": evaluated,
        "version": registered,
        "decision": promoted,
    }
