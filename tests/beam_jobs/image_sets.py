"""Image sets made from nothing but numbers, and what a dataset's folder holds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.dataset_config import DatasetConfig
from tests.support import ROOT

# The pictures are much alike, and small ones have little in the highest octave.
SMALL = DatasetConfig(
    name="small",
    hr_size=32,
    crop_size=48,
    shard_bytes=12_000,
    near_duplicate_bits=-1,
    min_sharpness=0,
)


def picture(seed: int, width: int = 64, height: int = 56) -> NDArray[np.uint8]:
    """Smooth colours with some noise, uint8 [height, width, 3]; equal on every machine."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    waves = [(x * int(rng.integers(1, 5)) + y * int(rng.integers(1, 5))) % 256 for _ in range(3)]
    noise = rng.integers(0, 24, (height, width, 3))
    return np.clip(np.stack(waves, axis=-1) * 9 // 10 + noise, 0, 255).astype(np.uint8)


def encoded(pixels: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_set(root: Path, people: int = 6, photos: int = 4, first_seed: int = 0) -> Path:
    """``person-NN/photo-N.png``: ``people`` folders with ``photos`` different pictures each."""
    for person in range(people):
        folder = root / f"person-{person + first_seed:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for photo in range(photos):
            seed = (person + first_seed) * 1000 + photo
            (folder / f"photo-{photo}.png").write_bytes(encoded(picture(seed)))
    return root


def hashes(folder: Path | str) -> dict[str, str]:
    """sha256 of every file below a folder by its relative path; hidden files included."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def rejects(dataset: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(dataset, "rejected.jsonl").read_text().splitlines()]


def arguments(image_set: Path | str, output: Path | str, *more: str) -> list[str]:
    """The command line that builds with the settings of :data:`SMALL`."""
    return [
        *("--input", str(image_set), "--output", str(output), "--name", SMALL.name),
        *(
            "--hr-size",
            "32",
            "--crop-size",
            "48",
            "--shard-bytes",
            "12000",
            "--near-duplicate-bits=-1",
            "--min-sharpness=0",
            *more,
        ),
    ]


def start_command(
    args: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """``python -m beam_jobs.build_pairs`` as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.build_pairs", *args],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_command(
    args: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    process = start_command(args, environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
