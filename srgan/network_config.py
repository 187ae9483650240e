"""Settings of the networks; ``architecture`` names a set of defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from srgan.frozen import Frozen

Scale = Literal[2, 4, 8]

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
    # Wang et al. 2018, ESRGAN: residual-in-residual dense blocks.
    "rrdb": {
        "blocks": 23,
        "norm": "none",
        "activation": "lrelu",
        "upsample": "resize",
        "outer_kernel": 3,
        "residual_scale": 0.2,
    },
}


class GeneratorConfig(Frozen):
    """The generator. ``architecture`` names a set of defaults; any other key overrides it."""

    architecture: Literal["faces", "srresnet", "edsr", "rrdb"] = "edsr"
    scale: Scale = 4
    channels: Literal[1, 3] = 3
    filters: int = Field(64, ge=4, le=512, description="Width of the trunk.")
    blocks: int = Field(16, ge=1, le=128, description="Residual blocks.")
    growth: int = Field(32, ge=4, le=256, description="Channels that a dense layer adds (rrdb).")
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "prelu", "lrelu"] = "prelu"
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
    spectral: bool = Field(False, description="Spectral normalisation of every layer.")
    head: Literal["dense", "pool"] = Field(
        "dense",
        description="'dense': flatten and 1024 units, as in the paper, for one crop size; "
        "'pool': global average pooling, for any size and far fewer weights.",
    )
