"""Speed of a training step beside plain Keras and PyTorch, and where its time goes.

    python -m tests.benchmarks.bench_train [--torch-python PYTHON] [--data SHARED] [--write]

1. steps: three networks, each contender in a process of its own, in turns
2. parts: the convolutions of our step by themselves, against the device's product of matrices
3. long: a thousand steps from real shards: input wait, and memory on the way

Torch is no dependency of the project: ``--torch-python`` (or SRGAN_TORCH_PYTHON) names an
interpreter that has it; without it those contenders are reported as not measured. Every part can
be run by itself (--parts, --networks, --precisions); results are kept in --results, and the page
is written from all that is there. On a GPU the same figures come from the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srgan.config import RunConfig, load_run_config
from tests.benchmarks.train_tables import STEADY, Results, page
from tests.support import ROOT

PAGE = ROOT / "docs" / "benchmarks" / "train.md"
DATA = ROOT.parent / "shared" / "data"
NETWORKS = ("srresnet", "gan", "faces-cpu")
PRECISIONS = ("float32", "bfloat16")
PARTS = ("steps", "parts", "long")
# Steps that are timed, of one process and round; steps before them that are not.
STEPS = {"srresnet": 8, "gan": 4, "faces-cpu": 20}
WARMUP = {"srresnet": 3, "gan": 2, "faces-cpu": 5}
PHOTOS, LONG = 1500, 1000
ATTEMPTS = 3


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    kept: Results = json.loads(options.results.read_text()) if options.results.exists() else {}
    best = max((run["machine"] for runs in kept.values() for run in runs), default=0.0)
    for name, job, program in measure(options):
        # A shared machine has slow minutes; what falls into one is measured again, or left out.
        for _ in range(ATTEMPTS):
            answer = call(program, job, options.data)
            best = max(best, answer["machine"])
            kept.setdefault(name, []).append(answer)
            options.results.write_text(json.dumps(kept))
            if answer["machine"] >= STEADY * best:
                break
    text = page(kept)
    print(text)
    if options.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text)


def measure(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """What is to be run, in order: its name part/network/contender/precision, job and program."""
    ours = command("ours", options)
    cases = [(n, p) for n in options.networks for p in options.precisions]
    for _ in range(options.rounds if "steps" in options.parts else 0):
        for network, precision in cases:
            for contender in contenders(network, options):
                job = make_job(network, precision, options.data, task=contender)
                name = f"steps/{network}/{contender}/{precision}"
                yield name, job, command(contender, options)
    for network, precision in cases if "parts" in options.parts else ():
        job = make_job(network, precision, options.data, task="parts")
        yield f"parts/{network}/{precision}", job, ours
    if "long" in options.parts:
        with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
            dataset = build(Path(folder), options.data / "faces" / "lfw", options.photos)
            job = make_job("faces-cpu", options.precisions[0], options.data, task="long")
            job |= {"steps": options.long_steps, "dataset": str(dataset)}
            yield "long/faces-cpu", job, ours


def contenders(network: str, options: argparse.Namespace) -> list[str]:
    """``fit`` has no GAN step; PyTorch only where it is."""
    names = ["ours"] if network == "gan" else ["ours", "keras"]
    return [*names, "torch"] if options.torch_python else names


def command(contender: str, options: argparse.Namespace) -> list[str]:
    if contender == "torch":
        return [options.torch_python, str(ROOT / "tests" / "benchmarks" / "train_torch.py")]
    return [sys.executable, "-m", "tests.benchmarks.train_ours"]


def make_job(network: str, precision: str, data: Path, *, task: str) -> dict[str, Any]:
    config = run_config(network)
    stage = config.gan if network == "gan" else config.pretrain
    return {
        "task": task,
        "network": network,
        "precision": precision,
        "warmup": WARMUP[network],
        "steps": STEPS[network],
        "config": config.model_dump(mode="json"),
        # What the script for PyTorch needs of it, in plain words.
        "generator": config.generator.model_dump(mode="json"),
        "discriminator": config.discriminator.model_dump(mode="json"),
        "batch": stage.batch,
        "size": stage.hr_crop,
        "content": next(iter(stage.content)),
        "vgg": str(data / "weights" / "vgg16_conv_lpips.npz"),
    }


def run_config(network: str) -> RunConfig:
    """The paper's networks with batch 16 and crops of 96 px; the preset's for ``faces-cpu``."""
    adam = "trainer.optimizer=adam"
    if network == "faces-cpu":
        return load_run_config("faces-cpu", [adam])
    tree = {
        "name": network,
        "generator": {"architecture": "srresnet"},
        "pretrain": {"content": {"mse": 1.0}},
        "gan": {"content": {"vgg54": 1.0}, "adversarial": "minmax"},
        "perceptual": {"network": "vgg16", "weights": "folder"},
        "trainer": {"optimizer": "adam"},
    }
    return RunConfig.model_validate(tree)


def call(program: list[str], job: dict[str, Any], data: Path) -> dict[str, Any]:
    """The one line of JSON that a contender's process ends with."""
    print(f"{job['network']} {job['task']} {job['precision']}", file=sys.stderr, flush=True)
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "SRGAN_WEIGHTS": str(data / "weights"),
    }
    before = machine_speed()
    done = subprocess.run(
        [*program, json.dumps(job)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(program)} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "machine": min(before, machine_speed())}


def machine_speed() -> float:
    """Products of two matrices a second, now: what other users of the machine leave to us."""
    matrix = np.ones((1024, 1024), np.float32)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - started)
    return 1 / statistics.median(seconds)


def build(folder: Path, faces: Path, photos: int) -> Path:
    """A dataset of the first ``photos`` faces, central 128 px of each, as build_pairs makes it."""
    chosen = sorted(faces.rglob("*.jpg"))[:photos]
    if not chosen:
        raise SystemExit(f"{faces}: no faces there; --data names a folder with faces/lfw")
    for photo in chosen:
        target = folder / "photos" / photo.parent.name / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, target)
    subprocess.run(
        [
            *(sys.executable, "-m", "beam_jobs.build_pairs", "--input", str(folder / "photos")),
            *("--output", str(folder / "built"), "--crop-size", "128"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next((folder / "built").glob("faces-*"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    torch = os.environ.get("SRGAN_TORCH_PYTHON")
    parser.add_argument("--torch-python", default=torch, help="an interpreter that has torch")
    data = Path(os.environ.get("SRGAN_SHARED_DATA", DATA))
    parser.add_argument("--data", type=Path, default=data, help="has weights/ and faces/lfw/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--long-steps", type=int, default=LONG)
    kept = Path(tempfile.gettempdir()) / "bench-train.json"
    parser.add_argument("--results", type=Path, default=kept, help="goes on from what is there")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    return parser


if __name__ == "__main__":
    main()
