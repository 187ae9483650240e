"""All metrics of enlarged pictures at once, as far as their weights are at hand."""

from __future__ import annotations

from collections.abc import Mapping

from srgan import metrics
from srgan.config import EvaluationConfig
from srgan.errors import ConfigError
from srgan.identity import Identity, load_identity
from srgan.images import Pixels
from srgan.lpips import SMALLEST, WEIGHTS_FILE, Lpips, load_lpips_alex
from srgan.metrics import METRICS
from srgan.weights import find_weights, missing

Figures = dict[str, float]
IDENTITY = ("identity_distance", "identity_kept")


class Measurement:
    """Measures what every system makes of a batch.

    ``unavailable`` says of each metric that cannot be measured here why.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self.unavailable: dict[str, str] = {}
        self._lpips = self._load_lpips(config)
        self._identity = self._load_identity(config)

    def figures(
        self, hr: Pixels, pictures: Mapping[str, Pixels], scale: int
    ) -> dict[str, list[Figures]]:
        """Figures of every picture by system, without those that it is too small for.

        ``hr`` and each of ``pictures`` are uint8 ``[N, H, W, 3]``. Identity is missing where the
        original shows no face.
        """
        found = {name: self._of_pixels(hr, batch, scale) for name, batch in pictures.items()}
        if self._identity is not None:
            for place, original in enumerate(hr):
                batch = [pictures[name][place] for name in pictures]
                distances = self._identity.distances(original, batch)
                if distances is None:
                    continue
                for name, distance in zip(pictures, distances, strict=True):
                    found[name][place]["identity_distance"] = distance
                    found[name][place]["identity_kept"] = float(distance < metrics.SAME_PERSON)
        return found

    def _of_pixels(self, hr: Pixels, pictures: Pixels, scale: int) -> list[Figures]:
        side = min(hr.shape[1:3])
        figures: list[Figures] = []
        for a, b in zip(hr, pictures, strict=True):
            figure = {
                "psnr_y": metrics.psnr_y(a, b, scale),
                "psnr_rgb": metrics.psnr_rgb(a, b, scale),
            }
            if side >= least_side("ssim_y", scale):
                figure["ssim_y"] = metrics.ssim_y(a, b, scale)
            figures.append(figure)
        if self._lpips is not None and side >= least_side("lpips_alex", scale):
            for figure, value in zip(figures, self._lpips(hr, pictures), strict=True):
                figure["lpips_alex"] = float(value)
        return figures

    def _load_lpips(self, config: EvaluationConfig) -> Lpips | None:
        if config.lpips == "off":
            self.unavailable["lpips_alex"] = "the setting evaluation.lpips is off"
        elif find_weights(WEIGHTS_FILE) is None:
            self.unavailable["lpips_alex"] = missing(WEIGHTS_FILE)
        else:
            return load_lpips_alex()
        return None

    def _load_identity(self, config: EvaluationConfig) -> Identity | None:
        if config.identity == "off":
            reason = "the setting evaluation.identity is off"
        else:
            try:
                return load_identity()
            except ConfigError as error:
                reason = str(error)
        self.unavailable.update(dict.fromkeys(IDENTITY, reason))
        return None


def least_side(metric: str, scale: int) -> int:
    """The least side of a picture in pixels that a metric can be measured on."""
    inside = {"ssim_y": metrics.SSIM_WINDOW, "psnr_y": 1, "psnr_rgb": 1}
    if metric in inside:
        return 2 * scale + inside[metric]
    return SMALLEST if metric == "lpips_alex" else 1


def too_small(smallest: int, scale: int) -> dict[str, str]:
    """The reasons of the metrics for which a picture of that side is too small."""
    return {
        metric: f"a picture has a side of {smallest} pixels and {needed} are needed"
        for metric in METRICS
        if smallest < (needed := least_side(metric, scale))
    }
