"""The model card: what a model is, what it was measured at, and the sha256 of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

import srgan
from srgan import storage
from srgan.config import RunConfig, canonical_json, explain
from srgan.dataset_config import DatasetConfig, RoundConfig
from srgan.errors import ModelError
from srgan.frozen import Frozen
from srgan.metrics import METRICS
from srgan.records import Dataset
from srgan.scores import Evaluation, SliceScores, Systems

CARD = "model_card.json"
CARD_TEXT = "MODEL_CARD.md"

INTENDED_USE = (
    "Making small photos of faces larger and clearer to look at: avatars, thumbnails, old photos. "
    "It was trained for one scale and one degradation, named below; photos that became small in "
    "another way (motion, focus, sensor noise) come out less well."
)
LIMITS = (
    "It invents plausible detail. What it adds was never in the photo: eyes, skin, hair and "
    "letters are guesses of what such a picture usually shows. Not for identification, evidence, "
    "medicine, or any decision about a person.",
    "It is as good as its training photos: faces, poses, ages and lights that were rare there "
    "come out worse.",
)


class CardDataset(Frozen):
    """A dataset that the model was trained on; ``digest`` is its manifest's sha256."""

    place: str
    digest: str
    records: dict[str, int]
    degradation: str


class CardMetrics(Frozen):
    """What was measured, on how many images, and how. ``systems`` has ``bicubic`` beside."""

    split: str
    images: int
    systems: dict[str, dict[str, float]]
    slices: dict[str, SliceScores] = Field(default_factory=dict)
    protocol: dict[str, str]
    not_measured: dict[str, str]


class ModelCard(Frozen):
    """``model_card.json``.

    ``training`` says by name what else is known of the training (its time, its hardware),
    ``data_terms`` where the photos come from and what they may be used for.
    """

    schema_version: Literal[1] = 1
    title: str = ""
    run_id: str
    scale: int = Field(ge=1)
    networks: dict[str, dict[str, Any]]
    losses: dict[str, dict[str, Any]]
    datasets: list[CardDataset]
    metrics: CardMetrics | None = None
    steps: dict[str, int]
    training: dict[str, str] = Field(default_factory=dict)
    data_terms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS
    code_version: str = srgan.__version__
    files: dict[str, str] = Field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The card's canonical bytes; their sha256 is the model's digest."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    @property
    def digest(self) -> str:
        """sha256 of the card's bytes, and through ``files`` of the whole model."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def make_card(
    config: RunConfig,
    datasets: Sequence[Dataset],
    evaluation: Evaluation | None,
    *,
    run_id: str,
    steps: Mapping[str, int],
    notes: Sequence[str] = (),
) -> ModelCard:
    """The card of a run's model, before its files are known (:func:`write_card` adds them)."""
    stages = {"pretrain": config.pretrain, "gan": config.gan}
    used = {name: stage for name, stage in stages.items() if stage.steps}
    return ModelCard(
        run_id=run_id,
        scale=config.generator.scale,
        networks={
            "generator": config.generator.model_dump(mode="json"),
            "discriminator": config.discriminator.model_dump(mode="json"),
            "perceptual": config.perceptual.model_dump(mode="json"),
        },
        losses={
            name: stage.model_dump(
                mode="json", include={"content", "adversarial", "adversarial_weight"}
            )
            for name, stage in used.items()
        },
        datasets=[
            CardDataset(
                place=dataset.place,
                digest=dataset.digest,
                records={str(k): v for k, v in dataset.manifest.records.items()},
                degradation=_degradation(dataset.manifest.config),
            )
            for dataset in datasets
        ],
        metrics=None if evaluation is None else _metrics(evaluation),
        steps=dict(steps),
        notes=tuple(notes),
    )


def write_card(folder: Path, card: ModelCard) -> ModelCard:
    """Write ``model_card.json`` and ``MODEL_CARD.md``; returns the card with the files' sha256."""
    storage.delete(str(folder / CARD))
    # The readable card is hashed like any other file; only the card itself cannot be.
    storage.write_bytes(str(folder / CARD_TEXT), card_text(card).encode())
    card = card.model_copy(update={"files": file_digests(folder)})
    storage.write_bytes(str(folder / CARD), card.to_bytes())
    return card


def read_card(folder: Path) -> ModelCard | None:
    """The card in ``folder``, ``None`` where there is none; :class:`ModelError` if damaged."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{path}: damaged model card: {explain(error)}") from None


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below ``folder`` but the card, by relative name, sorted."""
    return {
        path.relative_to(folder).as_posix(): storage.sha256_of(str(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / CARD
    }


def card_text(card: ModelCard) -> str:
    """The card for people, in Markdown."""
    generator = card.networks.get("generator", {})
    lines = [
        f"# {card.title or f'Face super-resolution x{card.scale}'}",
        "",
        f"Run `{card.run_id}`, code version {card.code_version}. "
        f"Input: RGB, uint8, any size. Output: the same, {card.scale} times as wide and high.",
        "",
        "## Intended use",
        "",
        card.intended_use,
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in card.limits),
        "",
        "## Measured",
        "",
        *_metrics_text(card.metrics),
        "",
        "## Training",
        "",
        "* Generator: " + ", ".join(f"{key} {value}" for key, value in generator.items()),
        *(f"* Stage {name}: {_loss_text(loss)}" for name, loss in card.losses.items()),
        *(f"* Steps of {name}: {count}" for name, count in card.steps.items()),
        *(f"* {name}: {value}" for name, value in card.training.items()),
        *(f"* Note: {note}" for note in card.notes),
        "",
        "## Data",
        "",
        *(line for term in card.data_terms for line in (term, "")),
        "| dataset | training pairs | degradation | digest |",
        "|---|---|---|---|",
        *(
            f"| {d.place} | {d.records.get('train', 0)} | {d.degradation} | `{d.digest}` |"
            for d in card.datasets
        ),
    ]
    return "\n".join(lines) + "\n"


def _metrics_text(metrics: CardMetrics | None) -> list[str]:
    if metrics is None:
        return ["Not evaluated."]
    return [
        f"Means over {metrics.images} images of the {metrics.split} split.",
        "",
        *_means_text(metrics.systems),
        *(
            line
            for part in metrics.slices.values()
            for line in (
                "",
                f"On {part.title}, {part.images} images:",
                "",
                *_means_text(part.systems),
            )
        ),
        *(f"\nNot measured: {name} ({why})." for name, why in metrics.not_measured.items()),
        "",
        *(f"* `{name}`: {how}" for name, how in metrics.protocol.items()),
    ]


def _means_text(systems: Systems) -> list[str]:
    measured = {name for values in systems.values() for name in values}
    return [
        f"| metric | {' | '.join(systems)} |",
        "|---" * (len(systems) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(_figure(name, systems[s].get(name)) for s in systems) + " |"
            for name in METRICS
            if name in measured
        ),
    ]


def _figure(name: str, value: float | None) -> str:
    return "–" if value is None else METRICS[name].show(value)


def _loss_text(loss: Mapping[str, Any]) -> str:
    content = ", ".join(f"{name} x {weight:g}" for name, weight in loss["content"].items())
    if loss["adversarial"] == "none":
        return content
    return f"{content}, adversarial ({loss['adversarial']}) x {loss['adversarial_weight']:g}"


def _degradation(config: DatasetConfig) -> str:
    text = f"{config.degradation} x{config.scale}, {config.hr_size} to {config.lr_size} px"
    if config.degradation != "realistic":
        return text
    rounds = (config.realistic.first, config.realistic.second)
    return f"{text} ({'; then '.join(_round(settings) for settings in rounds)})"


def _round(settings: RoundConfig) -> str:
    return (
        f"blur {_ends(settings.sigma)} px, noise {_ends(settings.noise)} grey levels, "
        f"JPEG {_ends(settings.jpeg)}"
    )


def _ends(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}-{ends[1]:g}"


def _metrics(evaluation: Evaluation) -> CardMetrics:
    return CardMetrics(
        split=evaluation.split,
        images=evaluation.images,
        systems=evaluation.systems,
        slices=evaluation.slices,
        protocol={name: METRICS[name].protocol for name in evaluation.measured},
        not_measured=evaluation.not_measured,
    )
