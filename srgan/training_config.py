"""Settings of training: its stages, their losses, and the loop around them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from srgan.frozen import Fraction, Frozen, Positive

ContentLoss = Literal["mse", "l1", "charbonnier", "vgg_multi", "vgg22", "vgg54", "lpips_vgg"]
PERCEPTUAL: frozenset[str] = frozenset({"vgg_multi", "vgg22", "vgg54", "lpips_vgg"})


class StageConfig(Frozen):
    """One stage of training: its length, its learning rate and what it minimises."""

    steps: int = Field(10_000, ge=0, description="Generator updates; 0 leaves the stage out.")
    share: Fraction = Field(0.5, description="Share of --max-minutes, where that is given.")
    batch: Positive = Field(16, description="Images in a step over all replicas together.")
    hr_crop: int = Field(96, ge=16, description="Side of the random HR crop in pixels.")
    learning_rate: float = Field(1e-4, gt=0, le=1)
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    decay: Literal["constant", "cosine", "halve", "drops"] = Field(
        "constant", description="After the warm-up; 'halve': half after each quarter of the steps."
    )
    drops: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), description="With decay 'drops': the shares of the steps after which the rate falls."
    )
    drop_factor: float = Field(0.5, gt=0, lt=1, description="What it falls to each time.")
    content: dict[ContentLoss, Annotated[float, Field(gt=0)]] = Field(
        default={"mse": 1.0}, description="Content losses and their weights."
    )
    adversarial: Literal["none", "minmax", "relativistic"] = "none"
    adversarial_weight: float = Field(1e-3, ge=0, description="1e-3 in the paper.")
    adversarial_ramp: int = Field(
        0, ge=0, description="Steps over which the adversarial weight rises from 0."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="D learns 1 - this for real images (one-sided)."
    )
    r1: float = Field(0.0, ge=0, description="Weight of D's gradient penalty on real images.")
    r1_every: Positive = Field(16, description="Steps between two penalties (weight times this).")

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if not self.content:
            raise ValueError("content: at least one content loss is needed, e.g. {mse: 1.0}")
        return self


class PerceptualConfig(Frozen):
    """Where the features of the perceptual losses come from."""

    network: Literal["vgg19", "vgg16"] = Field(
        "vgg19", description="For vgg_multi, vgg22 and vgg54; lpips_vgg is VGG16's."
    )
    weights: Literal["auto", "folder", "keras"] = Field(
        "auto", description="'folder': SRGAN_WEIGHTS only; 'keras': Keras' download only."
    )
    when_missing: Literal["fail", "pixel"] = Field(
        "fail",
        description="Without weights: 'fail' ends the run; 'pixel' trains without the perceptual "
        "losses and says so in the log, the run and the model card.",
    )


class GuardConfig(Frozen):
    """What happens when training goes wrong."""

    rollbacks: int = Field(
        3, ge=0, description="Times that a run returns to its last good checkpoint; then it ends."
    )
    slow_down: float = Field(
        0.5, gt=0, le=1, description="Factor on the learning rate after each return."
    )
    explosion: float = Field(
        20.0, ge=0, description="Times its median that a loss may reach; 0: no limit."
    )
    collapse_steps: Positive = Field(
        200, description="Steps after which a discriminator that always wins is reported."
    )


class TrainerConfig(Frozen):
    """The loop around both stages."""

    flip: bool = Field(True, description="Mirror half of the crops.")
    rotate: bool = Field(False, description="Turn crops by 0, 90, 180 or 270 degrees.")
    seed: int = Field(42, ge=0, lt=2**31)
    deterministic: bool = Field(
        True, description="Operations that give the same bits every time, at some cost on GPUs."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    xla: Literal["auto", "on", "off"] = Field(
        "auto", description="'auto': on one GPU, where it is faster; off elsewhere."
    )
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0: no moving average.")
    optimizer: Literal["adam", "muon"] = Field(
        "adam", description="Of the generator; 'muon' learns in half the steps without norm."
    )
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
    guard: GuardConfig = GuardConfig()
