"""What a packaged model is made of: the YAML file beside this one that has its name."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from srgan.config import RunConfig, load_run_config, load_yaml, parse
from srgan.dataset_config import DatasetConfig
from srgan.errors import ConfigError
from srgan.frozen import Frozen
from srgan.runs import StageChoice

_FOLDER = Path(__file__).parent


class Recipe(Frozen):
    """Datasets, settings of the training, and what the card says beside what was measured.

    Several datasets of the same photos give each photo several degradations or sizes.
    """

    title: str
    preset: str
    set: tuple[str, ...] = Field((), description="Settings that differ from the preset's.")
    stage: StageChoice = "all"
    datasets: tuple[DatasetConfig, ...] = Field(min_length=1)
    intended_use: str
    limits: tuple[str, ...]
    data_terms: tuple[str, ...]

    def run_config(self, preset: str | None, overrides: tuple[str, ...]) -> RunConfig:
        """The settings of the run; ``preset`` and ``overrides`` are a person's and win."""
        return load_run_config(preset or self.preset, (*self.set, *overrides))


def recipe_names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_recipe(name: str) -> Recipe:
    """The recipe of a packaged model; :class:`ConfigError` lists those there are."""
    path = _FOLDER / f"{name}.yaml"
    if name not in recipe_names():
        raise ConfigError(f"no recipe {name!r}; there is {', '.join(recipe_names())}")
    return parse(Recipe, load_yaml(path.read_text("utf-8")), path.name)
