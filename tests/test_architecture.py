"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

FORBIDDEN = {
    "srgan": {"apache_beam", "prefect", "beam_jobs", "flows", "infra"},
    "beam_jobs": {"prefect", "flows", "infra"},
    "flows": {"infra"},
}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_data_flows_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(set(imports(path)) & FORBIDDEN[package])
    ]
    assert wrong == []


def test_networks_and_losses_are_keras_alone() -> None:
    files = [*(ROOT / "srgan" / "networks").glob("*.py"), ROOT / "srgan" / "losses.py"]
    assert [path.name for path in files if "tensorflow" in set(imports(path))] == []


@pytest.mark.parametrize("module", ["srgan", "srgan.cli", "srgan.config", "beam_jobs.build_pairs"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = ["tensorflow", "keras", "mlflow", "prefect", "matplotlib", "apache_beam"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "srgan.cli", "--help"], check=True, capture_output=True, cwd=ROOT
        )
        return time.perf_counter() - begun

    # The best of three: a loaded machine slows single runs. TensorFlow alone would take 4 s.
    assert min(seconds() for _ in range(3)) < 2


def test_no_file_grows_beyond_one_sitting() -> None:
    paths = [p for package in FORBIDDEN for p in (ROOT / package).rglob("*.py")]
    lengths = {str(p.relative_to(ROOT)): p.read_text("utf-8").count("\n") for p in paths}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
