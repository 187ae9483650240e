from __future__ import annotations

import base64
import io
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.config import EvaluationConfig
from srgan.evaluation import evaluate, gallery
from srgan.report import RunSummary, render_report, write_report
from srgan.scores import Evaluation, ImageRow
from srgan.verdict import verdict
from srgan.workspace import Workspace
from tests.srgan.pairs import make_dataset, nearest, scene, sharpened
from tests.support import program

HOSTILE = '<img src=x onerror="alert(1)">/\u202egpj"\'&<script>alert(2)</script>.jpg'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it, whose names, notes and settings are hostile."""
    root = tmp_path_factory.mktemp("report")
    workspace, systems = Workspace(root), {"model": sharpened, "champion": nearest}
    sources = [HOSTILE, *(f"person/{i}.jpg" for i in range(4))]
    dataset = make_dataset(root / "d", [scene(s, 64) for s in range(5)], sources=sources)
    measured = evaluate(systems, [dataset], EvaluationConfig(lpips="off"), workspace=workspace)
    items = gallery(measured, systems, [dataset], 5, workspace=workspace)
    Image.fromarray(scene(1, 64)).save(root / "curves.png")
    frames = [Image.fromarray(scene(s, 32)) for s in (2, 3)]
    frames[0].save(root / "progress.webp", save_all=True, append_images=frames[1:], lossless=True)
    run = RunSummary(
        name="srgan",
        run_id="0123abcd",
        config="name: '</pre><script>alert(3)</script>'",
        datasets=[dataset],
        notes=["Trained without <the> perceptual loss."],
        facts={"Training": "12 min"},
        curves=root / "curves.png",
        progress=root / "progress.webp",
        version="srgan-faces 3",
    )
    path = root / "report.html"
    write_report(path, measured, items, title="<b>faces</b>", run=run)
    return path


class Elements(HTMLParser):
    """Every element with its attributes, every text, and whether all elements are closed."""

    VOID = ("meta", "img", "source", "br", "rect", "line")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_needs_no_network_and_runs_nothing(report: Path) -> None:
    html = report.read_text("utf-8")
    elements = Elements(html)
    assert elements.open == []
    assert "script" not in {tag for tag, _ in elements.found}
    for _, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/")
    styles = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles
    assert "default-src 'none'" in html


def test_hostile_names_are_shown_as_text(report: Path) -> None:
    texts = Elements(report.read_text("utf-8")).texts
    assert HOSTILE in texts
    assert "<b>faces</b>" in texts
    assert "Trained without <the> perceptual loss." in texts
    assert "name: '</pre><script>alert(3)</script>'" in texts


def test_every_picture_is_inside_and_described(report: Path) -> None:
    elements = Elements(report.read_text("utf-8"))
    pictures = [attributes for tag, attributes in elements.found if tag == "img"]
    # Five examples and the leading one, each LR, bicubic, model, champion and HR; two of training.
    assert len(pictures) == 6 * 5 + 2
    for attributes in pictures:
        assert attributes["alt"]
        kind, _, data = str(attributes["src"]).partition(";base64,")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            image.load()
            assert f"data:image/{str(image.format).lower()}" == kind
            if "width" in attributes:
                assert attributes["width"] == str(image.width)
    assert sum(a.get("class") == "pixelated" for a in pictures) == 6
    still = [a["srcset"] for tag, a in elements.found if tag == "source"]
    with Image.open(io.BytesIO(base64.b64decode(str(still[0]).partition(",")[2]))) as image:
        np.testing.assert_array_equal(np.asarray(image), scene(3, 32))


def test_says_what_was_not_measured_and_where_it_comes_from(report: Path) -> None:
    text = " ".join(" ".join(Elements(report.read_text("utf-8")).texts).split())
    assert "Not measured, because the setting evaluation.lpips is off." in text
    assert "srgan-faces 3" in text
    assert "0123abcd" in text
    assert "must not be used to identify anybody" in text


def screenshot(
    page: Path, folder: Path, width: int, scheme: int, height: int = 1600
) -> tuple[np.ndarray, str]:
    """The page as Chromium shows it and what Chromium had to say; scheme 0 is dark, 1 light."""
    chromium = program("chromium", "chromium", "chromium-browser")
    picture = folder / f"{width}-{scheme}.png"
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={picture}",
        f"--window-size={width},{height}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")), done.stderr


def test_a_real_browser_shows_it_in_light_and_dark(report: Path, tmp_path: Path) -> None:
    light, said = screenshot(report, tmp_path, 1200, 1)
    dark, _ = screenshot(report, tmp_path, 1200, 0)
    assert light.shape == dark.shape == (1600, 1200, 3)
    # The margin is plain paper; the pictures bring thousands of colours.
    assert light[200, 3].min() > 230
    assert dark[200, 3].max() < 50
    for picture in (light, dark):
        assert len(np.unique(picture.astype(np.int64) @ [65536, 256, 1])) > 3000
    assert not re.search(r"Refused to|Content Security Policy|CONSOLE", said)


def test_a_phone_needs_no_sideways_scrolling(report: Path, tmp_path: Path) -> None:
    frame = tmp_path / "phone.html"
    frame.write_text(
        "<body style='margin:0;background:#f0f'>"
        f"<iframe src='{report.as_uri()}' style='border:0;width:390px;height:7000px'></iframe>",
        "utf-8",
    )
    picture, _ = screenshot(frame, tmp_path, 500, 1, 7000)
    # What does not fit reaches into the margin at the frame's right edge.
    edge = picture[20:, 376:389]
    assert (edge == edge[0, 0]).all()


def made_up(psnr: dict[str, float], lpips: dict[str, float] | None, count: int) -> Evaluation:
    figures = {
        name: {"psnr_y": value, **({"lpips_alex": lpips[name]} if lpips else {})}
        for name, value in psnr.items()
    }
    rows = [
        ImageRow(dataset="d", key=str(i), source="s", group="g", metrics=figures)
        for i in range(count)
    ]
    return Evaluation(
        split="test",
        scale=4,
        images=count,
        systems=figures,
        per_image=rows,
        not_measured={},
        dataset_digests=["d"],
        seconds=1,
        system_seconds={},
    )


@pytest.mark.parametrize(
    ("psnr", "lpips", "tone", "said"),
    [
        (31.0, 0.1, "better", "pixel by pixel and perceptually"),
        (27.5, 0.1, "mixed", "Perceptually closer to the originals than bicubic, not pixel"),
        (31.0, 0.3, "mixed", "but not perceptually"),
        (27.5, 0.3, "worse", "Not better than bicubic."),
        (28.001, 0.25, "worse", "Not better than bicubic."),
        (31.0, None, "better", "Closer to the originals than bicubic, pixel by pixel."),
        (28.0, None, "worse", "Not better than bicubic."),
    ],
)
def test_the_verdict_is_no_better_than_the_figures(
    psnr: float, lpips: float | None, tone: str, said: str
) -> None:
    distances = None if lpips is None else {"bicubic": 0.25, "model": lpips}
    found = verdict(made_up({"bicubic": 28.0, "model": psnr}, distances, 40))
    assert found.tone == tone
    assert said in found.headline


def test_the_verdict_gives_figures_champion_and_doubt() -> None:
    psnr = {"bicubic": 28.0, "model": 27.5, "champion": 27.5}
    lpips = {"bicubic": 0.25, "model": 0.05, "champion": 0.1}
    against_bicubic, against_champion, doubt = verdict(made_up(psnr, lpips, 8)).paragraphs
    assert "is 0.50 dB further from the originals than bicubic" in against_bicubic
    assert "psnr_y 27.50 dB against 28.00 dB" in against_bicubic
    assert "80% smaller than that of bicubic" in against_bicubic
    assert "smaller on 8 of 8 pictures" in against_bicubic
    assert "as close to the originals as the champion" in against_champion
    assert "50% smaller than that of the champion" in against_champion
    assert "8 pictures only" in doubt


def test_without_examples_or_training_files_nothing_is_left_open(tmp_path: Path) -> None:
    run = RunSummary(name="srgan", run_id="0123", config="", curves=tmp_path / "none.png")
    evaluation = made_up({"bicubic": 28.0, "model": 31.0}, None, 1)
    html = render_report(evaluation, [], title="faces", run=run)
    elements = Elements(html)
    assert elements.open == []
    assert "img" not in {tag for tag, _ in elements.found}
    assert "How it learned" not in html
    assert "Examples" not in html
