"""The outcome of an evaluation in plain words, and no better than the figures are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srgan.metrics import METRICS, SAME_PERSON
from srgan.scores import BASELINE, CHAMPION, MODEL, Evaluation, measured_on, wins

Tone = Literal["better", "mixed", "worse"]
# A mean over fewer pictures says little.
FEW_IMAGES = 30
_NAMES = {BASELINE: "bicubic", MODEL: "the model", CHAMPION: "the champion"}


@dataclass(frozen=True)
class Verdict:
    """A headline, the paragraphs that support it, and how it compares with bicubic."""

    headline: str
    paragraphs: list[str]
    tone: Tone


def verdict(evaluation: Evaluation) -> Verdict:
    """What the means say of the judged system: against bicubic, then against the champion."""
    subject = evaluation.subject
    pixels = _sign(evaluation, "psnr_y", subject, BASELINE)
    perception = (
        _sign(evaluation, "lpips_alex", subject, BASELINE)
        if "lpips_alex" in evaluation.measured
        else None
    )
    headline, tone = _headline(pixels, perception)
    paragraphs = [_comparison(evaluation, subject, BASELINE)]
    if perception == 1 and pixels < 0:
        paragraphs[0] += " That is the usual trade of a GAN: convincing detail for pixel accuracy."
    if "identity_kept" in evaluation.measured:
        paragraphs.append(_identity_sentence(evaluation, subject))
    if CHAMPION in evaluation.systems and subject != CHAMPION:
        paragraphs.append(_comparison(evaluation, subject, CHAMPION))
    if evaluation.images < FEW_IMAGES:
        paragraphs.append(
            f"Measured on {_pictures(evaluation.images)} only: take the means as a first hint."
        )
    return Verdict(headline, paragraphs, tone)


def _headline(
    pixels: int, perception: int | None
) -> tuple[str, Literal["better", "mixed", "worse"]]:
    if pixels > 0 and perception is None:
        return "Closer to the originals than bicubic, pixel by pixel.", "better"
    if pixels > 0 and perception == 1:
        return "Closer to the originals than bicubic, pixel by pixel and perceptually.", "better"
    if perception == 1:
        return "Perceptually closer to the originals than bicubic, not pixel by pixel.", "mixed"
    if pixels > 0:
        return "Closer to the originals than bicubic pixel by pixel, but not perceptually.", "mixed"
    return "Not better than bicubic.", "worse"


def _comparison(evaluation: Evaluation, subject: str, other: str) -> str:
    sentences = [_pixel_sentence(evaluation, subject, other)]
    if "lpips_alex" in evaluation.measured:
        sentences.append(_perceptual_sentence(evaluation, subject, other))
    return " ".join(sentences)


def _pixel_sentence(evaluation: Evaluation, subject: str, other: str) -> str:
    gain = evaluation.gain("psnr_y", subject, other)
    amount = METRICS["psnr_y"].show(abs(gain))
    side = _sign(evaluation, "psnr_y", subject, other)
    outcome = {
        1: f"is {amount} closer to the originals than",
        -1: f"is {amount} further from the originals than",
        0: "is as close to the originals as",
    }[side]
    return (
        f"Pixel by pixel {_name(subject)} {outcome} {_name(other)} "
        f"({_both(evaluation, 'psnr_y', subject, other)}): "
        f"closer on {_share(evaluation, 'psnr_y', subject, other)}."
    )


def _perceptual_sentence(evaluation: Evaluation, subject: str, other: str) -> str:
    value, base = (evaluation.systems[name]["lpips_alex"] for name in (subject, other))
    side = _sign(evaluation, "lpips_alex", subject, other)
    share = f"{abs(value - base) / base:.0%}" if base else "infinitely"
    outcome = {
        1: f"is {share} smaller than that of",
        -1: f"is {share} larger than that of",
        0: "equals that of",
    }[side]
    return (
        f"Its perceptual distance to them {outcome} {_name(other)} "
        f"({_both(evaluation, 'lpips_alex', subject, other)}): "
        f"smaller on {_share(evaluation, 'lpips_alex', subject, other)}."
    )


def _identity_sentence(evaluation: Evaluation, subject: str) -> str:
    faces = measured_on(evaluation, "identity_kept")
    kept = round(sum(row.metrics[subject]["identity_kept"] for row in faces))
    side = _sign(evaluation, "identity_distance", subject, BASELINE)
    nearer = {1: "nearer to", -1: "further from", 0: "as near to"}[side]
    return (
        f"A face recogniser takes {kept:,} of {len(faces):,} faces for the same person; to it "
        f"they are {nearer} their originals {'than' if side else 'as'} bicubic's "
        f"({_both(evaluation, 'identity_distance', subject, BASELINE)}, the bound is "
        f"{SAME_PERSON})."
    )


def _both(evaluation: Evaluation, metric: str, subject: str, other: str) -> str:
    show = METRICS[metric].show
    value, base = (show(evaluation.systems[name][metric]) for name in (subject, other))
    return f"{metric} {value} against {base}"


def _share(evaluation: Evaluation, metric: str, subject: str, other: str) -> str:
    return f"{wins(evaluation, metric, subject, other):,} of {_pictures(evaluation.images)}"


def _sign(evaluation: Evaluation, metric: str, subject: str, other: str) -> int:
    """1 better, -1 worse, 0 when the difference vanishes in the digits that are shown."""
    gain = round(evaluation.gain(metric, subject, other), METRICS[metric].digits)
    return (gain > 0) - (gain < 0)


def _name(system: str) -> str:
    return _NAMES.get(system, system)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
