"""The gate: when a registered version becomes champion.

Two keys must turn. The figures: not below bicubic, and better than the champion on the same
images. The infrastructure: a fresh process without this project loads the version from the
registry and gives the exported model's pixels.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.config import GateConfig
from srgan.errors import RegistryError, SrganError
from srgan.images import Pixels
from srgan.metrics import METRICS
from srgan.mlflow_store import connect, reported, tracking_uri
from srgan.registry import CHALLENGER, CHAMPION, Version, champion, load_version
from srgan.scores import BASELINE, MODEL, Evaluation
from srgan.workspace import Workspace

Systems = Mapping[str, Mapping[str, float]]
LOAD_SECONDS = 300.0
_PROBES = ((1, 1, 1), (2, 7, 5), (1, 33, 20))
# Run by `python -I -c`: nothing of this project is importable in there, and nothing is unpickled.
_LOAD_SCRIPT = """
import sys
for name in ("srgan", "beam_jobs", "flows"):
    sys.modules[name] = None
import mlflow, numpy
uri, folder = sys.argv[1:]
model = mlflow.pyfunc.load_model(uri)
probes = numpy.load(folder + "/probes.npz", allow_pickle=False)
numpy.savez(folder + "/pixels.npz", **{name: model.predict(probes[name]) for name in probes})
"""


@dataclass(frozen=True)
class Decision:
    """What the gate said of a version, and why; ``figures`` are the means that it looked at."""

    promoted: bool
    target: str
    reasons: list[str]
    figures: dict[str, dict[str, float]]


def decide(evaluation: Evaluation, config: GateConfig, *, has_champion: bool) -> Decision:
    """The decision by figures alone: pure, the registry is not asked.

    ``evaluation.systems`` has ``model`` and ``bicubic``, and ``champion`` when there is one: all
    measured on the same images. Raises :class:`RegistryError` when a figure that is needed is
    missing.
    """
    systems: Systems = evaluation.systems
    target = _target(evaluation, config, has_champion)
    names = [BASELINE, MODEL, *([CHAMPION] if has_champion else [])]
    figures = {name: dict(systems[name]) for name in names if name in systems}
    model = _figure(evaluation, MODEL, "psnr_y")
    bicubic = _figure(evaluation, BASELINE, "psnr_y")
    ahead, reason = _compare("psnr_y", model, "bicubic's", bicubic, 0.0, ties=True)
    reasons = [reason]
    if has_champion:
        # Also where another metric decides: a champion without it was not measured here.
        _figure(evaluation, CHAMPION, "psnr_y")
        wins, reason = _compare(
            target,
            _figure(evaluation, MODEL, target),
            "the champion's",
            _figure(evaluation, CHAMPION, target),
            config.min_gain,
            ties=False,
        )
        reasons.append(reason)
    else:
        wins = True
        reasons.append("there is no champion yet")
    return Decision(ahead and wins, target, reasons, figures)


def promote(
    version: Version,
    evaluation: Evaluation,
    config: GateConfig,
    workspace: Workspace,
    *,
    compared_with: Version | None = None,
    check: Callable[[Version, Workspace], object] | None = None,
) -> Decision:
    """Make ``version`` challenger, and champion when both keys turn; tag it with the decision.

    ``compared_with`` is the champion that the evaluation measured: when another version became
    champion meanwhile, a :class:`RegistryError` asks for a new evaluation. ``check`` is the
    infrastructure key, :func:`check_loads_alone` by default; it raises what is wrong.
    """
    current = champion(workspace, evaluation.scale)
    if current is not None and current.version == version.version:
        # The tags keep saying why it became champion.
        reasons = [f"{version.uri} is the champion already"]
        return Decision(True, _target(evaluation, config, False), reasons, {})
    if compared_with is not None and current is not None and current.uri != compared_with.uri:
        raise RegistryError(
            f"{version.uri} was compared with {compared_with.uri}, but {current.uri} is champion "
            "now; evaluate again"
        )
    decision = decide(evaluation, config, has_champion=current is not None)
    try:
        (check or check_loads_alone)(version, workspace)
        loads = "a fresh process loads it and gives the same pixels"
    except SrganError as error:
        loads = str(error)
        decision = Decision(False, decision.target, decision.reasons, decision.figures)
    decision = Decision(
        decision.promoted, decision.target, [*decision.reasons, loads], decision.figures
    )
    aliases = (CHALLENGER, CHAMPION) if decision.promoted else (CHALLENGER,)
    _write(version, decision, workspace, aliases=aliases)
    return decision


def check_loads_alone(
    version: Version, workspace: Workspace, *, seconds: float = LOAD_SECONDS
) -> int:
    """Load a registered version as a stranger would, and compare its pixels with the export's.

    A new isolated interpreter, in an empty folder, in which this project cannot be imported and
    MLflow may not unpickle. Returns the largest difference in grey levels, which is 0 on the same
    machine; more than 1, another shape or a failure is a :class:`RegistryError`.
    """
    exported = load_version(version, workspace)
    random = np.random.default_rng(0)
    probes = {
        f"p{i}": random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        for i, shape in enumerate(_PROBES)
    }
    with tempfile.TemporaryDirectory(prefix="srgan-load-") as folder:
        np.savez(Path(folder) / "probes.npz", allow_pickle=False, **probes)
        _run_alone(version, folder, tracking_uri(workspace), seconds)
        with np.load(Path(folder) / "pixels.npz", allow_pickle=False) as pixels:
            return max(
                _difference(version, exported(probe), pixels[name])
                for name, probe in probes.items()
            )


def _run_alone(version: Version, folder: str, uri: str, seconds: float) -> None:
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _LOAD_SCRIPT, version.uri, folder],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"{version.uri}: a fresh process did not load it within {seconds:.0f} s"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RegistryError(f"{version.uri}: a fresh process cannot load it: {lines[-1][:300]}")


def _difference(version: Version, expected: Pixels, found: NDArray[Any]) -> int:
    if found.shape != expected.shape or found.dtype != np.uint8:
        raise RegistryError(
            f"{version.uri}: a fresh process gives {found.dtype} {found.shape}, "
            f"expected uint8 {expected.shape}"
        )
    worst = int(np.abs(found.astype(int) - expected.astype(int)).max())
    # Another process may split its sums over other threads, which can turn a tie by one level.
    if worst > 1:
        raise RegistryError(
            f"{version.uri}: a fresh process gives pixels that differ by {worst} levels"
        )
    return worst


def _target(evaluation: Evaluation, config: GateConfig, has_champion: bool) -> str:
    if config.target != "auto":
        return config.target
    judged = [MODEL, CHAMPION] if has_champion else [MODEL]
    measured = all("lpips_alex" in evaluation.systems.get(name, {}) for name in judged)
    return "lpips_alex" if measured else "psnr_y"


def _figure(evaluation: Evaluation, system: str, metric: str) -> float:
    values = evaluation.systems.get(system)
    if values is None:
        raise RegistryError(
            f"the evaluation has no figures of {system!r} (it has {', '.join(evaluation.systems)});"
            " evaluate again with it, on the same images"
        )
    if metric not in values:
        why = evaluation.not_measured.get(metric, "it is missing")
        raise RegistryError(
            f"the gate needs {metric} of {system!r}, which was not measured ({why}); "
            "evaluate again, or set gate.target to another metric"
        )
    return values[metric]


def _compare(
    metric: str, value: float, whose: str, other: float, least: float, *, ties: bool
) -> tuple[bool, str]:
    """Whether ``value`` is good enough against ``other``, and the sentence that says so."""
    kind = METRICS[metric]
    gain = kind.gain(value, other)
    enough = (gain >= 0 if ties else gain > 0) and gain >= least
    if not math.isfinite(value):
        enough = False
    bound = f", at least {least:g} is asked for" if least else ""
    verdict = "better than" if gain > 0 else "equal to" if gain == 0 else "worse than"
    if math.isnan(gain):
        verdict = "not comparable with"
    return enough, f"{metric} {kind.show(value)} is {verdict} {whose} {kind.show(other)}{bound}"


def _write(
    version: Version, decision: Decision, workspace: Workspace, *, aliases: tuple[str, ...]
) -> None:
    client = connect(workspace)
    tags = {
        "srgan.gate": "promoted" if decision.promoted else "kept back",
        "srgan.gate.target": decision.target,
        "srgan.gate.reasons": "; ".join(decision.reasons),
        "srgan.gate.figures": json.dumps(decision.figures, sort_keys=True),
    }
    with reported(tracking_uri(workspace)):
        # The reasons first: whoever sees the alias move can read why.
        for key, value in tags.items():
            client.set_model_version_tag(version.name, str(version.version), key, value)
        for alias in aliases:
            client.set_registered_model_alias(version.name, alias, str(version.version))
