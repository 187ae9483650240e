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
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srgan.errors import ConfigError

Scale = Literal[2, 4, 8]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    # The article that this project grew from: transposed convolutions, five blocks, a long skip.
    "faces": {
        "blocks": 5,
        "norm": "batch",
        "activation": "relu",
        "upsample": "transpose",
        "outer_kernel": 9,
    },
    # Ledig et al. 2017, figure 4.
    "srresnet": {
        "blocks": 16,
        "norm": "batch",
        "activation": "prelu",
        "upsample": "subpixel",
        "outer_kernel": 9,
    },
    # Blocks without normalisation (Lim et al. 2017, EDSR) on the bicubic image: what a CPU trains.
    "edsr": {
        "blocks": 16,
        "norm": "none",
        "activation": "relu",
        "upsample": "subpixel",
        "outer_kernel": 3,
        "residual_scale": 0.2,
        "base": "bicubic",
    },
}


class GeneratorConfig(Frozen):
    """The generator. ``architecture`` names a set of defaults; any other key overrides it."""

    architecture: Literal["faces", "srresnet", "edsr"] = "edsr"
    scale: Scale = 4
    channels: Literal[1, 3] = 3
    filters: int = Field(64, ge=4, le=512, description="Width of the trunk.")
    blocks: int = Field(16, ge=1, le=128, description="Residual blocks.")
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "prelu"] = "prelu"
    upsample: Literal["transpose", "subpixel", "resize", "shuffle"] = Field(
        "subpixel", description="'shuffle': one sub-pixel convolution straight to the image."
    )
    outer_kernel: Literal[3, 9] = Field(9, description="Kernel of the first and last convolution.")
    residual_scale: float = Field(1.0, gt=0, le=1, description="Factor of a block's branch.")
    base: Literal["none", "bicubic"] = Field(
        "none", description="'bicubic': the network learns the residual over the bicubic image."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_architecture(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            name = values.get("architecture", "edsr")
            return {**ARCHITECTURES.get(str(name), {}), **values}
        return values


class DiscriminatorConfig(Frozen):
    """The paper's discriminator (Ledig et al. 2017, figure 4)."""

    filters: int = Field(64, ge=4, le=512, description="Width of the first convolution.")
    norm: Literal["batch", "none"] = "batch"
    head: Literal["dense", "pool"] = Field(
        "dense",
        description="'dense': flatten and 1024 units, as in the paper, for one crop size; "
        "'pool': global average pooling, for any size and far fewer weights.",
    )


ContentLoss = Literal["mse", "l1", "vgg", "vgg22", "vgg54", "lpips_vgg"]
PERCEPTUAL: frozenset[str] = frozenset({"vgg", "vgg22", "vgg54", "lpips_vgg"})


class StageConfig(Frozen):
    """One stage of training: its length, its learning rate and what it minimises."""

    steps: int = Field(10_000, ge=0, description="Generator updates; 0 leaves the stage out.")
    share: Fraction = Field(0.5, description="Share of --max-minutes, where that is given.")
    batch: Positive = Field(16, description="Images in a step over all replicas together.")
    hr_crop: int = Field(96, ge=16, description="Side of the random HR crop in pixels.")
    learning_rate: float = Field(1e-4, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    decay: Literal["constant", "cosine"] = Field("constant", description="After the warm-up.")
    content: dict[ContentLoss, Annotated[float, Field(gt=0)]] = Field(
        default={"mse": 1.0}, description="Content losses and their weights."
    )
    adversarial: Literal["none", "minmax", "relativistic"] = "none"
    adversarial_weight: float = Field(1e-3, ge=0, description="1e-3 in the paper.")

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if not self.content:
            raise ValueError("content: at least one content loss is needed, e.g. {mse: 1.0}")
        return self


class PerceptualConfig(Frozen):
    """Where the features of the perceptual losses come from."""

    network: Literal["vgg19", "vgg16"] = Field("vgg19", description="For vgg, vgg22 and vgg54.")
    weights: Literal["auto", "folder", "keras"] = Field(
        "auto", description="'folder': SRGAN_WEIGHTS only; 'keras': Keras' download only."
    )
    when_missing: Literal["fail", "pixel"] = Field(
        "fail",
        description="Without weights: 'fail' ends the run; 'pixel' trains without the perceptual "
        "losses and says so in the log, the run and the model card.",
    )


class TrainerConfig(Frozen):
    """The loop around both stages."""

    flip: bool = Field(True, description="Mirror half of the crops.")
    seed: int = Field(42, ge=0, lt=2**31)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0: no moving average.")
    clip_norm: float = Field(1.0, ge=0, description="Global gradient norm of G; 0: no clipping.")
    cpu_devices: int = Field(
        0, ge=0, le=64, description="Logical CPU devices to mirror over; 0: GPUs, else one CPU."
    )
    max_minutes: float = Field(
        0, ge=0, description="Time budget for both stages; turned into steps once. 0: by steps."
    )
    checkpoint_every: Positive = 500
    validate_every: Positive = Field(500, description="Steps between two validations.")
    validate_images: Positive = Field(32, description="Images of the val split that it looks at.")
    sample_every: Positive = Field(100, description="Steps between two frames of the animation.")
    log_every: Positive = 20
    keep: Positive = Field(2, description="Checkpoints kept beside the best one of each stage.")


class EvaluationConfig(Frozen):
    """What is measured on the test split."""

    split: Literal["test", "val"] = "test"
    max_images: int = Field(0, ge=0, description="0: all.")
    gallery: int = Field(24, ge=0, le=500, description="Images shown in the report.")
    lpips: Literal["auto", "off"] = Field("auto", description="auto: where weights are at hand.")


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
    gan: StageConfig = StageConfig(adversarial="minmax", content={"vgg": 1.0})
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
        """sha256 of the settings that decide the weights, as 64 hex digits."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


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
        tree = yaml.safe_load(text)
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
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: {text!r} is no value") from None
