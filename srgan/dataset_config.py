"""How an image set becomes LR/HR pairs: every setting is part of the dataset's build id."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from srgan.frozen import Fraction, Frozen, Positive
from srgan.network_config import Scale

Crop = Literal["center", "faces", "tiles", "none"]
Degradation = Literal["bicubic", "area", "realistic", "tone", "paired"]


class FaceConfig(Frozen):
    """Which faces of a photo become records with ``crop: faces``."""

    detector: Literal["auto", "yunet", "dlib"] = Field(
        "auto", description="auto: YuNet where its model file is at hand, else dlib."
    )
    model_sha256: str | None = Field(
        None, description="Model file of the detector; the builder fills it in."
    )
    margin: float = Field(
        0.4,
        ge=0,
        le=2,
        description="Room on each side, as a share of the face's width; 0.4 frames a face as "
        "FFHQ does, with hair and chin.",
    )
    min_size: int = Field(
        0, ge=0, description="Smallest crop in source pixels; never less than hr_size."
    )
    min_score: float = Field(
        0.8, ge=0, le=1, description="YuNet's confidence that it is a face; dlib has its own."
    )


Range = tuple[float, float]


def _within(lowest: float, highest: float) -> AfterValidator:
    def check(ends: Range) -> Range:
        low, high = ends
        if not lowest <= low <= high <= highest:  # NaN fails too
            raise ValueError(
                f"[{low:g}, {high:g}] is no range within [{lowest:g}, {highest:g}], low end first"
            )
        return ends

    return AfterValidator(check)


class KernelShares(Frozen):
    """How often each shape of blur is drawn; together 1. The figures are Real-ESRGAN's."""

    gaussian: Fraction = 0.45
    anisotropic: Fraction = 0.25
    generalized: Fraction = 0.12
    generalized_anisotropic: Fraction = 0.03
    plateau: Fraction = 0.12
    plateau_anisotropic: Fraction = 0.03

    @model_validator(mode="after")
    def _complete(self) -> Self:
        total = sum(share for _, share in self)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}, not to 1")
        return self


class RoundConfig(Frozen):
    """One round of blur, resize, noise and JPEG; ranges are drawn from uniformly."""

    blur: Fraction = Field(1.0, description="How often there is blur at all.")
    sinc: Fraction = Field(0.1, description="How often the blur is a sinc filter, which rings.")
    sigma: Annotated[Range, _within(0.05, 20)] = Field(
        (0.2, 1.8), description="Width of the blur in pixels."
    )
    enlarge: Fraction = Field(0.2, description="How often the image is enlarged.")
    shrink: Fraction = Field(0.7, description="How often it is shrunk; else it keeps its size.")
    resize: Annotated[Range, _within(0.05, 4)] = Field(
        (0.5, 1.3), description="Smallest and largest factor of the size."
    )
    gaussian: Fraction = Field(0.5, description="How often the noise is Gaussian, else Poisson's.")
    grey: Fraction = Field(0.4, description="How often the noise is without colour.")
    noise: Annotated[Range, _within(0, 100)] = Field(
        (1.0, 12.0), description="Gaussian noise in grey levels."
    )
    poisson: Annotated[Range, _within(0, 10)] = Field(
        (0.05, 1.0), description="Poisson noise, as a multiple of that of 1 photon a grey level."
    )
    jpeg: Annotated[tuple[int, int], _within(1, 100)] = Field((40, 95), description="JPEG quality.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.enlarge + self.shrink > 1 + 1e-9:
            raise ValueError(
                f"enlarge {self.enlarge:g} and shrink {self.shrink:g} are more than 1 together"
            )
        low, high = self.resize
        if (self.enlarge and high < 1) or (self.shrink and low > 1):
            raise ValueError(
                f"resize [{low:g}, {high:g}] leaves nothing to enlarge or to shrink to; "
                "set enlarge or shrink to 0"
            )
        return self


class RealisticConfig(Frozen):
    """Second-order degradation of Real-ESRGAN (Wang et al. 2021, section 3).

    Probabilities are the published ones; ranges are milder, since a face of 128 pixels bears less
    than a crop of 256 from a photo of many megapixels. Published: sigma 0.2-3 and 0.2-1.5, resize
    0.15-1.5 and 0.3-1.2, noise 1-30 and 1-25, poisson 0.05-3 and 0.05-2.5, jpeg 30-95 twice, the
    final cut-off 0.33-1.
    """

    kernels: KernelShares = KernelShares()
    kernel_size: Annotated[tuple[int, int], _within(3, 41)] = Field(
        (7, 21), description="Sides of blur kernels in pixels; odd ones are drawn."
    )
    generalized_beta: Annotated[Range, _within(0.1, 10)] = Field(
        (0.5, 4.0), description="Exponent of generalized Gaussians; below 1 heavier tails."
    )
    plateau_beta: Annotated[Range, _within(0.1, 10)] = Field(
        (1.0, 2.0), description="Exponent of plateau-shaped kernels."
    )
    first: RoundConfig = RoundConfig()
    second: RoundConfig = RoundConfig(
        blur=0.8,
        sigma=(0.2, 1.0),
        enlarge=0.3,
        shrink=0.4,
        resize=(0.75, 1.2),
        noise=(1.0, 8.0),
        poisson=(0.05, 0.7),
        jpeg=(50, 95),
    )
    final_sinc: Fraction = Field(0.8, description="How often a sinc filter comes last.")
    final_cutoff: Annotated[Range, _within(0.1, 1)] = Field(
        (0.55, 1.0), description="Its cut-off as a share of the highest frequency of LR."
    )


class ToneConfig(Frozen):
    """Exposure and contrast of LR, which the generator learns to correct."""

    exposure: Annotated[Range, _within(-6, 6)] = Field(
        (-1.5, 0.5), description="Stops of exposure, in linear light."
    )
    warmth: Annotated[Range, _within(-2, 2)] = Field(
        (-0.2, 0.2), description="White balance: stops of red over blue, in linear light."
    )
    contrast: Annotated[Range, _within(0.1, 4)] = Field(
        (0.7, 1.1), description="Factor of the distance from middle grey, of sRGB values."
    )


class PairedConfig(Frozen):
    """How the LR file of an HR file is found: ``hr`` in its path becomes ``lr``.

    Whole words only, in folders and file names alike; the file type may differ.
    """

    hr: str = Field("HR", min_length=1, description="Word in the path of HR files.")
    lr: str = Field("LR", min_length=1, description="Word in the path of LR files.")


class DatasetConfig(Frozen):
    """How an image set becomes LR/HR pairs. Part of the dataset's build id."""

    name: str = Field("faces", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$", description="Name prefix.")
    scale: Scale = Field(4, description="HR side / LR side.")
    hr_size: int = Field(
        128, ge=16, le=2048, description="Side of the HR image in pixels; smallest side with none."
    )
    crop: Crop = Field(
        "center",
        description="center: the central square; faces: every face, aligned by its eyes; "
        "tiles: a grid of squares; none: whole images that are HR already.",
    )
    crop_size: int | None = Field(
        None,
        ge=16,
        description="Side of the central square in source pixels; empty: the largest one.",
    )
    tile_stride: Positive | None = Field(
        None, description="Distance of tiles in source pixels; empty: hr_size, side by side."
    )
    faces: FaceConfig = FaceConfig()
    degradation: Degradation = Field(
        "bicubic",
        description="How HR becomes LR. bicubic: MATLAB's; area: mean of each square; realistic: "
        "blur, noise and JPEG, twice; tone: bicubic, exposure and contrast changed; paired: LR "
        "files come with the HR files.",
    )
    realistic: RealisticConfig = RealisticConfig()
    tone: ToneConfig = ToneConfig()
    paired: PairedConfig = PairedConfig()
    shard_bytes: int = Field(64 * 2**20, ge=1, description="Size of a shard, about.")
    group: str = Field(
        "parent",
        description="What keeps together in one split: 'parent' (name of the folder), 'none' "
        "(every image by itself), or a regular expression with one group, searched in the path.",
    )
    val_fraction: float = Field(0.05, ge=0, le=0.5, description="Share of groups for validation.")
    test_fraction: float = Field(0.05, ge=0, le=0.5, description="Share of groups for the test.")
    split_salt: str = Field("srgan", description="Another salt gives other splits.")
    near_duplicate_bits: int = Field(
        32,
        ge=-1,
        le=64,
        description="Differing bits of 256 up to which two images, or one and the other's mirror "
        "image, are twins; such a twin in another split is rejected. -1: not looked for.",
    )
    alpha: str = Field(
        "#ffffff",
        pattern=r"^(#[0-9a-f]{6}|reject)$",
        description="Colour below transparent pixels, or 'reject'.",
    )
    grey: Literal["accept", "reject"] = Field("accept", description="Images without colour.")
    animated: Literal["first", "reject"] = Field(
        "first", description="Of an animated image the first frame, or nothing."
    )
    max_bytes: Positive = Field(64 * 2**20, description="Larger files are rejected unread.")
    max_pixels: Positive = Field(64_000_000, description="Larger images are rejected undecoded.")
    max_aspect: float = Field(
        16.0, ge=1, description="Longer side / shorter side; longer images are rejected undecoded."
    )
    min_size: int = Field(0, ge=0, description="Shorter side of a source in pixels, at least.")
    min_sharpness: float = Field(
        0.3,
        ge=0,
        description="Detail of HR in its highest octave, as a share of that in the next; below it "
        "is blurred. 0.3 loses 1 % of soft but true photos and finds most that were enlarged "
        "twofold; 0.36 finds these all, where photos are larger than hr_size. 0: all are taken.",
    )
    min_contrast: float = Field(
        3.0, ge=0, description="Standard deviation of HR's luma in grey levels; flat is rejected."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hr_size % self.scale:
            raise ValueError(f"hr_size {self.hr_size} is not a multiple of scale {self.scale}")
        if self.crop_size is not None and self.crop != "center":
            raise ValueError(f"crop_size {self.crop_size} is for crop center, not {self.crop}")
        if self.crop_size is not None and self.crop_size < self.hr_size:
            raise ValueError(
                f"crop_size {self.crop_size} is smaller than hr_size {self.hr_size}: "
                "enlarging a crop makes no HR image"
            )
        if self.tile_stride is not None and self.crop != "tiles":
            raise ValueError(f"tile_stride {self.tile_stride} is for crop tiles, not {self.crop}")
        if self.degradation == "paired":
            self._check_paired()
        if self.group not in ("parent", "none"):
            try:
                groups = re.compile(self.group).groups
            except re.error as error:
                raise ValueError(
                    f"group {self.group!r} is no regular expression: {error}"
                ) from None
            if groups != 1:
                raise ValueError(f"group {self.group!r} must have exactly one capturing group")
        return self

    def _check_paired(self) -> None:
        """LR files come as they are: HR is cut on their grid and never resized."""
        if self.crop == "faces":
            raise ValueError("crop faces turns and shrinks HR, which paired LR files do not follow")
        if self.crop_size not in (None, self.hr_size):
            raise ValueError(
                f"crop_size {self.crop_size} would shrink HR to hr_size {self.hr_size}, which "
                "paired LR files do not follow; leave it out"
            )
        if self.tile_stride is not None and self.tile_stride % self.scale:
            raise ValueError(
                f"tile_stride {self.tile_stride} is not a multiple of scale {self.scale}, so that "
                "tiles would not begin on pixels of the paired LR files"
            )

    @property
    def lr_size(self) -> int:
        """Side of the LR image in pixels."""
        return self.hr_size // self.scale
