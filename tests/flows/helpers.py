"""Photos that cost nothing to make, and a look at what runs on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parents[2]


def write_photos(folder: Path, *, people: int, seed: int, size: int = 48) -> Path:
    """Random pictures with some grain, one folder for each person."""
    random = np.random.default_rng(seed)
    for number in range(people):
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        grain = random.integers(-24, 25, (size, size, 1))
        picture = Image.fromarray(
            np.clip(np.asarray(smooth, np.int64) + grain, 0, 255).astype(np.uint8)
        )
        home = folder / f"person-{seed}-{number:03d}"
        home.mkdir(parents=True)
        picture.save(home / "photo.png")
    return folder


def processes_with(text: str) -> list[str]:
    """Command lines of our user's processes that name ``text`` in arguments or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            mine = process.pid in (os.getpid(), os.getppid())
            if not mine and any(text in word for word in words):
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def run(command: list[str], environment: dict[str, str], folder: Path, timeout: float) -> str:
    """Output of a command, standard error included; its failure fails the test."""
    result = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr
