"""Speed and memory of ``beam_jobs.build_pairs`` beside a plain Pillow pool, in one run.

    python -m tests.benchmarks.bench_build [--images 20000] [--rounds 2]

The peer is what one writes in an afternoon: a pool of two processes that open, crop, shrink and
encode each photo and keep the bytes. It hashes nothing, measures nothing, looks for no duplicates
and writes no dataset. Once it has the PNG settings that Pillow has by itself, once its fastest.
All are timed as whole commands, from nothing, in turns.
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from tests.support import ROOT

WIDTH, HEIGHT, HR, LR = 450, 550, 128, 32
WORKERS = 2
TABLE = ROOT / "docs" / "benchmarks" / "build.md"
_FEW = 2000


@dataclass(frozen=True)
class Run:
    """Seconds of a command from start to end, and the peak of each process's memory in bytes."""

    seconds: float
    peaks: list[int]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    parser.add_argument("--pool", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--level", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.pool:
        print(pool(Path(options.pool), options.level))
        return
    with tempfile.TemporaryDirectory(prefix="bench-build-") as folder:
        text = measure(Path(folder), options.images, options.rounds)
    print(text)
    if options.write:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(text)


def measure(folder: Path, images: int, rounds: int) -> str:
    """Time all commands in turns; the table as Markdown."""
    photos, few = folder / "photos", folder / "few"
    make_photos(photos, images)
    make_photos(few, min(_FEW, images))
    plain = [sys.executable, "-m", "tests.benchmarks.bench_build", "--pool", str(photos)]
    commands = {
        "plain pool, Pillow's PNG settings": [*plain, "--level", "6"],
        "plain pool, fastest PNG settings": [*plain, "--level", "1"],
        "build_pairs": build_command(photos, folder / "out"),
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            runs[name].append(timed(command))
            print(f"{name}: {runs[name][-1].seconds:.1f} s", file=sys.stderr)
    shutil.rmtree(folder / "out", ignore_errors=True)
    small = timed(build_command(few, folder / "out"))
    return table(runs, small, images, min(_FEW, images))


def build_command(photos: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "beam_jobs.build_pairs", "--input", str(photos)),
        *("--output", str(out), "--hr-size", str(HR), "--workers", str(WORKERS)),
    ]


def pool(photos: Path, level: int) -> int:
    """The peer: bytes of all pairs."""
    places = sorted(str(path) for path in photos.rglob("*.jpg"))
    with Pool(WORKERS) as workers:
        pairs = workers.imap(_Plain(level), places, chunksize=50)
        return sum(len(hr) + len(lr) for hr, lr in pairs)


class _Plain:
    def __init__(self, level: int) -> None:
        self.level = level

    def __call__(self, place: str) -> tuple[bytes, bytes]:
        with Image.open(place) as opened:
            image = opened.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        hr = square.resize((HR, HR), Image.Resampling.BICUBIC)
        lr = hr.resize((LR, LR), Image.Resampling.BICUBIC)
        return self._png(hr), self._png(lr)

    def _png(self, image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=self.level)
        return buffer.getvalue()


def make_photos(folder: Path, count: int) -> None:
    """``count`` distinct JPEGs with the spectrum and the size of photos (about 60 KB)."""
    rng = np.random.default_rng(1)
    canvas = _photo_like(rng, 4 * HEIGHT, 4 * WIDTH)
    for number in range(count):
        top, left = int(rng.integers(3 * HEIGHT)), int(rng.integers(3 * WIDTH))
        part = canvas[top : top + HEIGHT, left : left + WIDTH, rng.permutation(3)]
        target = folder / f"{number // 10:05d}" / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(part).save(target, quality=int(rng.integers(80, 93)))


def _photo_like(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise whose amplitude falls with the frequency, as in photos, with some fine grain."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / width) ** 1.2
    channels = []
    shared = rng.normal(size=(height, width))
    for _ in range(3):
        noise = np.fft.rfft2(shared + 0.4 * rng.normal(size=(height, width)))
        channels.append(np.fft.irfft2(noise * amplitude, s=(height, width)))
    image = np.stack(channels, axis=-1)
    image = (image - image.mean()) / image.std() * 52 + 118
    return np.clip(image + rng.normal(scale=3, size=image.shape), 0, 255).astype(np.uint8)


def timed(command: Sequence[str]) -> Run:
    """Run a command; its duration and the peak memory of each of its processes that counts."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peaks: dict[int, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, stop))
    watcher.start()
    output, _ = process.communicate()
    seconds = time.monotonic() - started
    stop.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return Run(seconds, sorted(peaks.values(), reverse=True))


def _watch(pid: int, peaks: dict[int, int], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        try:
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                status = Path(f"/proc/{process.pid}/status").read_text()
                high = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                peaks[process.pid] = int(high.split()[1]) * 1024
        except (psutil.Error, OSError, StopIteration):
            continue


def table(runs: dict[str, list[Run]], small: Run, images: int, few: int) -> str:
    """What was measured, as Markdown."""
    medians = {n: statistics.median(run.seconds for run in found) for n, found in runs.items()}
    ours = medians["build_pairs"]
    lines = [
        f"{images:,} JPEGs of {WIDTH}x{HEIGHT} to {HR}/{LR} px PNG pairs; {WORKERS} processes on "
        f"{psutil.cpu_count()} cores; whole commands, start-up included; median of "
        f"{len(runs['build_pairs'])} rounds in turns.",
        "",
        "| | seconds | images/s | its seconds / those of build_pairs |",
        "|---|---|---|---|",
    ]
    for name, seconds in medians.items():
        ratio = "" if name == "build_pairs" else f"{seconds / ours:.2f}"
        lines.append(f"| {name} | {seconds:.1f} | {images / seconds:.0f} | {ratio} |")
    lines += [
        "",
        f"| peak memory of build_pairs, MiB | {few:,} images | {images:,} images | ratio |",
        "|---|---|---|---|",
    ]
    large = runs["build_pairs"][-1]
    for index in range(min(len(small.peaks), len(large.peaks), WORKERS + 1)):
        one, other = small.peaks[index] / 2**20, large.peaks[index] / 2**20
        lines.append(f"| process {index + 1} | {one:.0f} | {other:.0f} | {other / one:.2f} |")
    lines += ["", "Written by `python -m tests.benchmarks.bench_build --write`.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
