"""`srgan dataset show`: what a person and a script get to know of a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srgan.dataset_config import DatasetConfig
from srgan.datasets.reasons import MEANINGS
from srgan.datasets.show import differing_settings, summarize
from srgan.datasets.text import WIDTH, show_lines
from srgan.records import Dataset, Reject
from tests.srgan.commands import run_srgan
from tests.srgan.pairs import make_training_dataset

REJECTS = [
    *(Reject(f"copies/{n}.jpg", "duplicate", "same bytes", f"{n:064d}") for n in range(3)),
    Reject("bad/写真.jpg", "corrupt", "ends early", "b" * 64),
    Reject("person-1/a.jpg", "blurred", "sharpness 0.1", "c" * 64, crop=1),
    Reject("person-1/a.jpg", "blurred", "sharpness 0.2", "c" * 64, crop=2),
]
SETTINGS = {"name": "people", "max_aspect": 4, "faces": {"margin": 0.5}}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_training_dataset(
        tmp_path / "people-1", rejects=REJECTS, settings=SETTINGS, excluded=["d" * 64]
    )


def test_a_summary_says_what_the_manifest_and_the_records_say(dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    summary = summarize(dataset, lambda done, total: told.append((done, total)))
    assert summary.records == 18
    assert [(s.name, s.records, s.groups, s.shards) for s in summary.splits] == [
        ("train", 12, 12, 2),
        ("val", 3, 3, 2),
        ("test", 3, 3, 2),
    ]
    assert (summary.inputs, summary.used_sources, summary.rejected_sources) == (22, 18, 4)
    assert list(summary.rejects.items()) == [
        ("duplicate", (3, 0)),
        ("blurred", (0, 2)),
        ("corrupt", (1, 0)),
    ]
    assert {s.name: (s.value, s.other) for s in summary.settings} == {
        "hr_size": (64, DatasetConfig().hr_size),
        "max_aspect": (4.0, DatasetConfig().max_aspect),
        "faces.margin": (0.5, DatasetConfig().faces.margin),
    }
    assert summary.excluded == ("d" * 64,)
    assert summary.bytes == sum(p.stat().st_size for p in Path(dataset.place).iterdir())
    assert sum(summary.distributions["sharpness"].counts) == 18
    assert summary.distributions["source_side"].median == 64
    assert told == [(18, 18)]
    # Its files do not list them.
    assert summary.preview is None
    assert summary.reject_sheet is None


def test_the_defaults_do_not_differ_from_themselves() -> None:
    assert differing_settings(DatasetConfig(name="a"), DatasetConfig(name="b")) == []


def test_a_terminal_of_80_columns_is_enough(dataset: Dataset) -> None:
    for ascii_only in (False, True):
        lines = [line.plain for line in show_lines(summarize(dataset), ascii_only=ascii_only)]
        wide = [line for line in lines if len(line) > 80 and dataset.place not in line]
        assert wide == []
    assert any("#" in line for line in lines)
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize("reason", MEANINGS)
def test_meanings_fit_beside_the_counts(reason: str) -> None:
    assert len(reason) <= 17
    assert len(MEANINGS[reason]) <= WIDTH - 37


def test_in_a_pipe_there_is_text_alone(dataset: Dataset) -> None:
    done = run_srgan("dataset", "show", dataset.place, COLUMNS="40", PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("people-1")
    assert f"  place       {dataset.place}" in lines
    assert f"  digest      {dataset.digest}" in lines
    assert f"  kept apart  {'d' * 64}" in lines
    assert any(line.split()[:3] == ["duplicate", "3", "-"] for line in lines)
    assert any(line.split()[:3] == ["blurred", "-", "2"] for line in lines)
    assert any(line.split()[:2] == ["max_aspect", "4.0"] for line in lines)


def test_an_old_terminal_gets_what_it_can_say(dataset: Dataset) -> None:
    done = run_srgan("dataset", "show", dataset.place, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "#" in done.stdout


def test_json_has_everything(dataset: Dataset) -> None:
    done = run_srgan("dataset", "show", dataset.place, "--json")
    tree = json.loads(done.stdout)
    assert tree["digest"] == dataset.digest
    assert tree["config"]["faces"]["margin"] == 0.5
    assert tree["rejects"]["blurred"] == [0, 2]
    assert tree["splits"][0]["records"] == 12
    assert len(tree["distributions"]["sharpness"]["edges"]) == 1 + len(
        tree["distributions"]["sharpness"]["counts"]
    )


def test_what_is_no_dataset_is_said_in_a_line(tmp_path: Path) -> None:
    done = run_srgan("dataset", "show", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: no dataset here")
    assert len(done.stderr.splitlines()) == 1
