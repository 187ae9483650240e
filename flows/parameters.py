"""Parameter types of the flows: what the web form shows and the server checks before a run exists.

The server knows a parameter's JSON schema and no code of ours, so what it shall refuse has to be
in the types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, Field

from srgan.config import EvaluationConfig, RunConfig, load_run_config, preset_names
from srgan.dataset_config import DatasetConfig
from srgan.errors import ConfigError

Stage = Literal["all", "pretrain", "gan"]

if TYPE_CHECKING:
    Preset = str
else:
    Preset = Literal[tuple(preset_names())]


def setting_keys(model: type[BaseModel] = RunConfig) -> Iterator[str]:
    """Every key that an override may name: ``trainer.seed``, ``pretrain.content.mse``, …"""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (f"{name}.{key}" for key in setting_keys(kind))
        elif get_origin(kind) is dict:
            yield from (f"{name}.{key}" for key in get_args(get_args(kind)[0]))
            yield name
        else:
            yield name


def override_pattern() -> str:
    """A regular expression for ``key=value`` with a known key, grouped so that it can be read."""
    groups: dict[str, list[str]] = {}
    for key in setting_keys():
        head, dot, tail = key.rpartition(".")
        groups.setdefault(re.escape(head + dot), []).append(tail)
    known = "|".join(f"{head}({'|'.join(tails)})" for head, tails in groups.items())
    return f"^({known})=.+$"


DEFAULT_DATASET = DatasetConfig.model_validate({})
DEFAULT_EVALUATION = EvaluationConfig.model_validate({})
Override = Annotated[str, Field(pattern=override_pattern())]


def run_config(
    preset: str, overrides: tuple[str, ...], scale: int, max_minutes: float | None
) -> RunConfig:
    """The preset with its overrides, at the dataset's scale.

    :class:`ConfigError` names a bad key or value, and a scale that contradicts the dataset's.
    """
    settings = [f"generator.scale={scale}"]
    if max_minutes is not None:
        settings.append(f"trainer.max_minutes={max_minutes}")
    config = load_run_config(preset, [*settings, *overrides])
    if config.generator.scale != scale:
        raise ConfigError(
            f"overrides: generator.scale={config.generator.scale} contradicts dataset.scale="
            f"{scale}; leave it out, the dataset's is used"
        )
    return config
