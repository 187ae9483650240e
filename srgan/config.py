"""Every setting of the project: frozen models that refuse unknown keys.

A preset (``srgan/presets/NAME.yaml``) or any YAML file fills a :class:`RunConfig`;
``--set trainer.batch=32`` changes single keys. What a run used is written, resolved, to its
``config.yaml``, and its digest is part of the run's identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from srgan.errors import ConfigError
from srgan.frozen import Frozen
from srgan.network_config import DiscriminatorConfig, GeneratorConfig
from srgan.training_config import PerceptualConfig, StageConfig, TrainerConfig

M = TypeVar("M", bound=BaseModel)
_BOOLEAN = "tag:yaml.org,2002:bool"


class EvaluationConfig(Frozen):
    """What is measured on the test split."""

    split: Literal["test", "val"] = "test"
    max_images: int = Field(0, ge=0, description="0: all.")
    gallery: int = Field(24, ge=0, le=500, description="Images shown in the report.")
    lpips: Literal["auto", "off"] = Field("auto", description="auto: where weights are at hand.")
    identity: Literal["auto", "off"] = Field(
        "auto", description="auto: where dlib is installed (the extra faces)."
    )


class GateConfig(Frozen):
    """When a new version becomes champion."""

    target: Literal["auto", "lpips_alex", "psnr_y", "ssim_y"] = Field(
        "auto", description="auto: lpips_alex where it was measured, else psnr_y."
    )
    min_gain: float = Field(0.0, ge=0, description="How much better than the champion at least.")


class RunConfig(Frozen):
    """Everything that decides what a training run does."""

    name: str = Field("srgan", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    pretrain: StageConfig = StageConfig()
    gan: StageConfig = StageConfig(adversarial="minmax", content={"vgg_multi": 1.0})
    perceptual: PerceptualConfig = PerceptualConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, stage in (("pretrain", self.pretrain), ("gan", self.gan)):
            if stage.hr_crop % self.generator.scale:
                raise ValueError(
                    f"{name}.hr_crop {stage.hr_crop} is not a multiple of "
                    f"generator.scale {self.generator.scale}"
                )
        if self.pretrain.adversarial != "none":
            raise ValueError("pretrain.adversarial must be 'none': that is what gan is for")
        return self

    def digest(self) -> str:
        """sha256 of the settings that decide the weights, as 64 hex digits.

        Over how many devices a step is spread is none of them.
        """
        tree = self.model_dump(mode="json", exclude={"trainer": {"cpu_devices"}})
        return hashlib.sha256(canonical_json(tree)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def preset_names() -> list[str]:
    """Names that ``--preset`` accepts beside a file."""
    folder = resources.files("srgan") / "presets"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name != "__init__.py")


def load_run_config(preset: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Settings from a preset's name or a YAML file, with ``key.sub=value`` overrides.

    Raises :class:`ConfigError` in one line that names the key, its value and what is allowed.
    """
    tree = _read_yaml(preset)
    for override in overrides:
        apply_override(tree, override)
    return parse(RunConfig, tree, preset)


def parse(model: type[M], tree: Mapping[str, Any], origin: str) -> M:
    """``tree`` as ``model``; a :class:`ConfigError` names the first key that is wrong."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """A pydantic error as one line: the key, what is wrong with it, its value."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}")
        else:
            value = item.get("input")
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(value, Mapping) else f" (got {value!r})"
            # A model's own check has no key: its message names the keys that contradict.
            lines.append(f"{key}: {message}{shown}" if item["loc"] else message)
    return "; ".join(lines)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans, true and false: PyYAML takes the words on and off for some, too."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != _BOOLEAN or first in "tTfF"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str) -> Any:
    """The value that ``text`` is; ``yaml.YAMLError`` where it is none."""
    return yaml.load(text, _Loader)


def _read_yaml(preset: str) -> dict[str, Any]:
    packaged = resources.files("srgan") / "presets" / f"{preset}.yaml"
    if packaged.is_file():
        text = packaged.read_text("utf-8")
    elif Path(preset).is_file():
        text = Path(preset).read_text("utf-8")
    else:
        known = ", ".join(preset_names())
        raise ConfigError(f"no preset or file {preset!r}; presets are: {known}")
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{preset}: not YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{preset}: expected 'key: value' lines, found {type(tree).__name__}")
    return tree


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Put ``key.sub=value`` into ``tree``. :class:`ConfigError` where the value is no YAML."""
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override!r}: expected key=value, e.g. trainer.seed=7")
    *parents, leaf = path.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} has no keys below it")
        node = child
    try:
        node[leaf] = load_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: {text!r} is no value") from None
