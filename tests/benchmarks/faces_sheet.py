"""Contact sheets for the eyes: faces of the sharpest slice, LR | bicubic | … | HR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from srgan.evaluation import GalleryItem, Upscaler, gallery
from srgan.records import Dataset
from srgan.scores import Evaluation
from srgan.slices import SHARPEST
from srgan.workspace import Workspace

_CELL, _GAP, _HEAD, _ON_A_PAGE = 256, 4, 30, 5
_TITLES = {"pretrain": "pre-trained", "model": "GAN"}


def write_sheets(
    folder: Path,
    evaluation: Evaluation,
    systems: dict[str, Upscaler],
    datasets: Sequence[Dataset],
    count: int,
    workspace: Workspace,
) -> list[Path]:
    """Pages of five faces, from the most to the least gain; names of the files."""
    sharpest = [row for row in evaluation.per_image if SHARPEST in row.slices]
    part = evaluation.model_copy(update={"per_image": sharpest or evaluation.per_image})
    items = gallery(part, systems, datasets, count, workspace=workspace)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("faces-*.png"):
        old.unlink()
    pages = []
    for number, start in enumerate(range(0, len(items), _ON_A_PAGE), start=1):
        path = folder / f"faces-{number:02d}.png"
        page(items[start : start + _ON_A_PAGE]).save(path)
        pages.append(path)
    return pages


def page(items: Sequence[GalleryItem]) -> Image.Image:
    """Rows of faces under headings, each picture at twice its size or what makes 256 pixels."""
    names = list(items[0].pictures)
    titles = ["LR", *(_TITLES.get(name, name) for name in names), "HR"]
    width = len(titles) * (_CELL + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(items) * (_CELL + _GAP) - _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for column, title in enumerate(titles):
        middle = column * (_CELL + _GAP) + _CELL / 2
        draw.text((middle, _HEAD / 2), title, "black", font, anchor="mm")
    for row, item in enumerate(items):
        pictures = [item.lr, *(item.pictures[name] for name in names), item.hr]
        for column, pixels in enumerate(pictures):
            how = Image.Resampling.NEAREST if column == 0 else Image.Resampling.LANCZOS
            cell = Image.fromarray(pixels).resize((_CELL, _CELL), how)
            sheet.paste(cell, (column * (_CELL + _GAP), _HEAD + row * (_CELL + _GAP)))
    return sheet
