"""A run that is killed, stopped, or moved to other devices ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from srgan.checkpoints import load_generator
from srgan.records import Dataset
from srgan.runs import RunFolder
from srgan.workspace import Workspace
from tests.srgan.runs import checkpoints, figures, in_turn, position, same_bits, state

# Batch normalisation in both networks, and a penalty every third step.
STEPS = [
    "generator.norm=batch",
    "pretrain.steps=24",
    "gan.steps=16",
    "gan.r1=1.0",
    "gan.r1_every=3",
    "gan.adversarial_ramp=6",
    "trainer.checkpoint_every=5",
    "trainer.log_every=1",
    "trainer.rotate=true",
]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "kills"), [("float32", 2), ("mixed_float16", 1)])
def test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one(
    dataset: Dataset, tmp_path: Path, precision: str, kills: int
) -> None:
    settings = [*STEPS, f"trainer.precision={precision}"]
    calm, rough = Workspace(tmp_path / "calm"), Workspace(tmp_path / "rough")
    draw = random.Random(precision)
    places = [
        f"--kill-at={stage}:{step}"
        for stage, steps in (("pretrain", 24), ("gan", 16))
        for step in sorted(draw.sample(range(1, steps), kills))
    ]
    killed = [(rough, [*settings, place], -signal.SIGKILL) for place in places]
    folders, _ = in_turn(dataset, (calm, settings, 0), *killed, (rough, settings, 0))
    undisturbed, disturbed = (RunFolder(path) for path in folders)

    assert disturbed.path.name == undisturbed.path.name
    for one, other in zip(checkpoints(undisturbed), checkpoints(disturbed), strict=True):
        expected = state(one)
        # Networks, their average, two moments for every weight, and the scale of float16's losses.
        assert len(expected) > 100
        assert same_bits(expected, state(other)), places
        assert position(one).step == position(other).step
    assert figures(disturbed) == figures(undisturbed)
    for name in ("generator.keras", "generator-pretrain.keras", "generator-gan.keras"):
        models = [load_generator(run.path / name).get_weights() for run in (undisturbed, disturbed)]
        for a, b in zip(*models, strict=True):
            assert a.tobytes() == b.tobytes()
    assert not list(disturbed.path.rglob(".unfinished-*"))


@pytest.mark.slow
def test_sigterm_saves_and_leaves_with_a_code_of_its_own(dataset: Dataset, tmp_path: Path) -> None:
    calm, rough = Workspace(tmp_path / "calm"), Workspace(tmp_path / "rough")
    # Between two regular checkpoints, so the one that counts is the signal's.
    stopped = [(rough, [*STEPS, f"--term-at={place}"], 75) for place in ("pretrain:13", "gan:7")]
    folders, err = in_turn(dataset, (calm, STEPS, 0), *stopped, (rough, STEPS, 0))
    undisturbed, disturbed = (RunFolder(path) for path in folders)
    for place in ("pretrain step 13", "gan step 7"):
        assert f"stopped by SIGTERM at {disturbed.path.name} {place};" in err
    assert "everything is saved, the same command continues" in err
    one, other = checkpoints(undisturbed)[-1], checkpoints(disturbed)[-1]
    assert same_bits(state(one), state(other))
    assert figures(disturbed) == figures(undisturbed)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(dataset: Dataset, tmp_path: Path) -> None:
    """As a job does that a cluster moves to a smaller machine: the same run, its losses within
    a thousandth of those of one that stayed where it was."""
    stayed, moved = Workspace(tmp_path / "stayed"), Workspace(tmp_path / "moved")
    settings = [*STEPS, "trainer.precision=float32"]
    one, two = ([*settings, f"trainer.cpu_devices={count}"] for count in (1, 2))
    at_step = "--term-at=pretrain:18"
    folders, _ = in_turn(
        dataset,
        (stayed, two, 0),
        (moved, [*two, at_step], 75),
        (moved, one, 0),
    )
    reference, other = (RunFolder(path) for path in folders)
    assert other.path.name == reference.path.name
    for a, b in zip(figures(reference), figures(other), strict=True):
        for name in ("g/content", "g/total", "d/real", "d/fake"):
            if name in a:
                assert b[name] == pytest.approx(a[name], rel=1e-3), (a["step"], name)
    weights = [load_generator(run.generator).get_weights() for run in (reference, other)]
    worst = max(float(np.abs(x - y).max()) for x, y in zip(*weights, strict=True))
    assert 0 < worst < 5e-3
