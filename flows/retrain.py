"""Flow ``srgan-retrain``: on a schedule, train the champion on image sets that are new."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows import tasks
from flows.failures import failed, log_errors_in_one_line
from flows.parameters import DEFAULT_DATASET, Override, Preset, run_config
from srgan import storage
from srgan.dataset_config import DatasetConfig
from srgan.errors import SrganError, StorageError
from srgan.frozen import Frozen
from srgan.workspace import Workspace, prepare_environment


@flow(name="srgan-retrain", flow_run_name="retrain", result_serializer="json")
def retrain(
    root: str | None = None,
    dataset: DatasetConfig = DEFAULT_DATASET,
    preset: Preset = "faces-cpu",
    overrides: tuple[Override, ...] = (),
    max_minutes: Annotated[float | None, Field(ge=0)] = None,
    initial: str | None = "champion",
) -> dict[str, Any] | State[Any]:
    """Train on every image set below a folder as soon as one of them is new or has grown.

    1. list the image sets: the folders directly below the root
    2. build the datasets that are missing; what is built already costs a look
    3. with nothing new since the last training: done
    4. train on all of them, starting from the champion
    5. evaluate, register, promote where it is better

    An image set that cannot be built is left out; the run then ends as failed, after the rest.

    Args:
        root: Folder or gs:// prefix whose sub-folders are image sets. Empty: image-sets in the
            workspace.
        dataset: How photos become LR/HR pairs; the name is the sub-folder's.
        preset: Networks, losses and schedule.
        overrides: Single settings of the preset, as key=value.
        max_minutes: Time budget of training. Empty: the preset's; 0: by steps.
        initial: Model to start from; empty: from nothing. Without a champion yet: from nothing.
    """
    workspace = prepare_environment()
    log_errors_in_one_line()
    root = root or str(workspace.root / "image-sets")
    memory = Memory(workspace, root)
    try:
        config = run_config(preset, overrides, dataset.scale, max_minutes)
        built, refused = _build_all(image_sets(root), dataset)
        digests = tuple(sorted(item["digest"] for item in built))
        last = memory.read()
        if not built or (last.finished and last.digests == digests):
            return _ending(None, refused, "nothing new: every image set is in the last training")
        if last.digests != digests:
            start = tasks.known_start(initial, dataset.scale)
            last = memory.write(Retraining(digests=digests, initial=start))
        places = [item["place"] for item in built]
        trained = tasks.train_model(config, places, "all", False, last.initial)
        evaluated = tasks.evaluate_model(trained["folder"])
        registered = tasks.register_model(trained["folder"])
        promoted = tasks.promote_model(trained["folder"])
        memory.write(last.model_copy(update={"finished": True}))
    except SrganError as error:
        return failed(error)
    result = {
        "datasets": built,
        "training": trained,
        "evaluation": evaluated,
        "version": registered,
        "decision": promoted,
    }
    return _ending(result, refused, f"trained on {len(built)} image sets: {registered['uri']}")


class Retraining(Frozen):
    """What the last retraining was about.

    An unfinished one is taken up again as it began, from the model that was champion then.
    """

    digests: tuple[str, ...] = ()
    initial: str | None = None
    finished: bool = False


class Memory:
    """The last retraining on the image sets below a root."""

    def __init__(self, workspace: Workspace, root: str) -> None:
        name = hashlib.sha256(storage.absolute(root).encode()).hexdigest()[:12]
        self._place = str(workspace.root / "retrain" / f"{name}.json")

    def read(self) -> Retraining:
        """The last one; an empty one before the first."""
        if not storage.exists(self._place):
            return Retraining()
        return Retraining.model_validate_json(storage.read_bytes(self._place))

    def write(self, retraining: Retraining) -> Retraining:
        """Remember ``retraining`` and return it."""
        storage.write_bytes(self._place, retraining.model_dump_json().encode())
        return retraining


def image_sets(root: str) -> dict[str, str]:
    """Name and place of each folder directly below ``root`` that has files."""
    files = storage.list_files(root)
    names = sorted({file.name.partition("/")[0] for file in files if "/" in file.name})
    if not names:
        raise StorageError(f"{root}: no sub-folder with files; each sub-folder is an image set")
    return {name: storage.join(storage.absolute(root), name) for name in names}


def _build_all(
    sets: dict[str, str], config: DatasetConfig
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    built, refused = [], {}
    for name, place in sets.items():
        try:
            named = config.model_copy(update={"name": dataset_name(name)})
            built.append(tasks.build_dataset(place, named))
        except SrganError as error:
            get_run_logger().error("%s is left out: %s", name, error)
            refused[name] = str(error)
    return built, refused


def dataset_name(folder: str) -> str:
    """A folder's name in the letters that a dataset's name may have."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:40] or "faces"


def _ending(result: dict[str, Any] | None, refused: dict[str, str], message: str) -> State[Any]:
    if refused:
        return Failed(message=f"{message}; left out: {'; '.join(refused.values())}")
    return Completed(message=message, data=result)
