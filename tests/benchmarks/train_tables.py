"""The page of bench_train: tables as Markdown from the kept results."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path
from typing import Any

Results = dict[str, list[dict[str, Any]]]

# Share of the machine's best speed at which a run counts.
STEADY = 0.85
PRECISIONS = ("float32", "bfloat16")
_BATCH = 16
_NETWORKS = {
    "srresnet": "SRResNet, 16 blocks, MSE, batch 16, 24 to 96 px",
    "gan": "SRGAN step: the same, the paper's discriminator, VGG16 conv5_3, batch 16",
    "faces-cpu": "pre-training step of the preset `faces-cpu`, batch 16, 24 to 96 px",
}
_CONTENDERS = {"ours": "srgan", "keras": "plain Keras `fit`", "torch": "PyTorch"}
# What was aimed at: (network, precision of ours, precision of PyTorch) and the ratio.
_TARGETS = (
    ("srresnet", "float32", "float32", 1.7),
    ("srresnet", "bfloat16", "bfloat16", 1.1),
    ("gan", "float32", "float32", 2.0),
    ("gan", "bfloat16", "bfloat16", 1.2),
    ("faces-cpu", "bfloat16", "bfloat16", 1.3),
)


def page(results: Results) -> str:
    results = _steady(results)
    sections = [_heading(results)]
    for network, title in _NETWORKS.items():
        if any(name.startswith(f"steps/{network}/") for name in results):
            sections += [f"## {title}", _steps(results, network), _ratios(results, network)]
    sections += ["## What was aimed at", _targets(results)]
    if any(name.startswith("parts/") for name in results):
        sections += ["## Where the time of a step goes", _parts(results)]
    if "long/faces-cpu" in results:
        sections += ["## A thousand steps from real shards", _long(results["long/faces-cpu"][-1])]
    written = "Written by `python -m tests.benchmarks.bench_train --write`."
    return "\n\n".join([*sections, written]) + "\n"


def _steady(results: Results) -> Results:
    """Without the runs that fell into a slow phase of the machine."""
    best = max((run["machine"] for runs in results.values() for run in runs), default=0.0)
    kept = {
        name: [run for run in runs if run["machine"] >= STEADY * best]
        for name, runs in results.items()
    }
    return {name: runs for name, runs in kept.items() if runs}


def _heading(results: Results) -> str:
    versions = sorted({run["version"] for runs in results.values() for run in runs})
    devices = sorted({run["device"] for runs in results.values() for run in runs})
    return (
        "# Speed of training\n\n"
        f"{', '.join(versions)}; {', '.join(devices)}; {os.cpu_count()} cores{_processor()}. "
        "Each contender in a process of its own, in turns; medians of all timed steps after the "
        "warm-up. Left out are runs during which the machine was at less than "
        f"{STEADY:.0%} of its best, by a product of matrices before and after.\n\n"
        "A step is all that training does with a batch: forward, backward, clipping, Adam, and "
        "for srgan and PyTorch the moving average of the generator. PyTorch is channels-last, in "
        "bfloat16 by autocast, and takes D's step before G's, as usual; srgan takes both from one "
        "forward pass. In bfloat16 srgan keeps the last convolution of SRResNet and all losses in "
        "float32."
    )


def _processor() -> str:
    """Which of the units that matter here this processor has."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return f" ({platform.machine()})"
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    kinds = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    has = [f"{kind}: {'yes' if kind in flags else 'no'}" for kind in kinds]
    return f" ({', '.join(has)})"


def seconds(results: Results, network: str, contender: str, precision: str) -> float | None:
    """Median of all timed steps; None where it was not measured."""
    runs = results.get(f"steps/{network}/{contender}/{precision}", [])
    steps = [value for run in runs for value in run["seconds"]]
    return statistics.median(steps) if steps else None


def _steps(results: Results, network: str) -> str:
    lines = ["| | precision | seconds a step | images/s | middle half of the steps | steps |"]
    lines.append("|---|---|---|---|---|---|")
    for contender, title in _CONTENDERS.items():
        if (network, contender) == ("gan", "keras"):
            continue
        for precision in PRECISIONS:
            middle = seconds(results, network, contender, precision)
            if middle is None:
                lines.append(f"| {title} | {precision} | not measured | | | |")
                continue
            runs = results[f"steps/{network}/{contender}/{precision}"]
            steps = [value for run in runs for value in run["seconds"]]
            low, _, high = statistics.quantiles(steps, n=4)
            lines.append(
                f"| {title} | {precision} | {middle:.3f} | {_BATCH / middle:.1f} "
                f"| {low:.3f} to {high:.3f} | {len(steps)} |"
            )
    return "\n".join(lines)


def _ratios(results: Results, network: str) -> str:
    """Every other contender's seconds over ours; like with like first."""
    lines = ["| their seconds / ours | srgan float32 | srgan bfloat16 |", "|---|---|---|"]
    for contender, title in list(_CONTENDERS.items())[1:]:
        for theirs in PRECISIONS:
            other = seconds(results, network, contender, theirs)
            if other is None:
                continue
            cells = []
            for mine in PRECISIONS:
                own = seconds(results, network, "ours", mine)
                across = "" if mine == theirs else " (other precision)"
                cells.append(f"{other / own:.2f}{across}" if own else "")
            lines.append(f"| {title} {theirs} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _targets(results: Results) -> str:
    lines = [
        "Ratios to PyTorch in the same precision, aimed at for processors with units for bfloat16 "
        "(amx_bf16).",
        "",
        "| step | precision of both | aim | reached |",
        "|---|---|---|---|",
    ]
    for network, mine, theirs, aim in _TARGETS:
        own = seconds(results, network, "ours", mine)
        other = seconds(results, network, "torch", theirs)
        reached = f"{other / own:.2f}" if own and other else "not measured"
        lines.append(f"| {network} | {mine} | {aim} | {reached} |")
    return "\n".join(lines)


def _parts(results: Results) -> str:
    lines = [
        "The convolutions of the step's graph, forward and backward, timed one by one. The peak is "
        "a product of large matrices in the same type. Products are dense layers and, in float32 "
        "on processors, the wide convolutions of VGG: as products of transformed tiles they take "
        "a quarter of the operations, which are what is counted here. What is left to gain "
        "without other arithmetic is the distance of the last column but one from 100 %.",
        "",
        "| step | precision | seconds | its convolutions: GFLOP | share of the step's time "
        "| share of the peak | products: GFLOP | all of the step: share of the peak "
        "| peak, GFLOP/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network in _NETWORKS:
        for precision in PRECISIONS:
            for run in results.get(f"parts/{network}/{precision}", [])[-1:]:
                step, found = statistics.median(run["seconds"]), run["convolutions"]
                peak, products = run["peak"], run["products"]["flops"]
                lines.append(
                    f"| {network} | {precision} | {step:.3f} | {found['flops'] / 1e9:.0f} "
                    f"| {found['seconds'] / step:.0%} "
                    f"| {found['flops'] / found['seconds'] / peak:.0%} | {products / 1e9:.0f} "
                    f"| {(found['flops'] + products) / step / peak:.0%} | {peak / 1e9:.0f} |"
                )
    return "\n".join(lines)


def _long(run: dict[str, Any]) -> str:
    memory = {int(step): value / 2**20 for step, value in run["memory"].items()}
    table = "\n".join(
        [
            "| after step | " + " | ".join(map(str, memory)) + " |",
            "|---" * (len(memory) + 1) + "|",
            "| memory, MiB | " + " | ".join(f"{value:.0f}" for value in memory.values()) + " |",
        ]
    )
    return (
        f"`faces-cpu`, {run['photos']} training photos from shards: {run['input_wait']:.1%} of the "
        f"step is spent waiting for input; highest memory {run['highest'] / 2**20:.0f} MiB.\n\n"
        f"{table}"
    )
