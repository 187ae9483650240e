"""The folder from which the image of Dataflow's workers is built.

    python -m infra.dataflow.context && docker build --tag <image> build/dataflow

Workers need Pillow, NumPy and the like, but neither TensorFlow nor MLflow: a tenth of what the
package depends on. What they get has the versions of ``requirements.lock``, for the bytes of a
dataset depend on Pillow's; that is why an image is made, and nothing installed when workers start.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.local.output import say
from srgan.errors import SrganError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What workers import by themselves, whatever the settings of a dataset.
ROOTS = (
    "apache-beam",
    "dlib-bin",
    "face-recognition-models",
    "fsspec",
    "gcsfs",
    "google-cloud-storage",
    "google-crc32c",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pydantic",
    "pyyaml",
)
_WORKER = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def make_context(folder: Path) -> None:
    """Write the Dockerfile, the requirements and the wheel to ``folder``, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(HERE / "Dockerfile", folder)
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    (folder / "requirements.txt").write_text(pins(lock, closure(ROOTS)), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SrganError(f"no wheel of this package: {(done.stderr or done.stdout).strip()}")


def closure(roots: Iterable[str]) -> set[str]:
    """Names of ``roots`` and all that they require on a worker, from what is installed here."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in roots]
    while waiting:
        name, extras = waiting.pop()
        name = canonicalize_name(name)
        if (name, extras) in found:
            continue
        found.add((name, extras))
        waiting += [(r.name, frozenset(r.extras)) for r in _requirements(name, extras)]
    return {name for name, _ in found}


def pins(lock: str, names: set[str]) -> str:
    """The lines of ``lock`` for ``names``, hashes included; :class:`SrganError` if one is not."""
    blocks = re.findall(r"^[A-Za-z0-9][^\n]*(?:\n[ \t][^\n]*)*", lock, re.MULTILINE)
    by_name: dict[str, str] = {
        canonicalize_name(re.split("[=<>~! ;]", block)[0]): block for block in blocks
    }
    if missing := sorted(names - by_name.keys()):
        raise SrganError(f"requirements.lock has no {', '.join(missing)}; make lock")
    return "".join(f"{by_name[name]}\n" for name in sorted(names))


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        raise SrganError(f"{name} is not installed; make install") from None
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({**_WORKER, "extra": extra}) for extra in extras or {""}
        ):
            yield requirement


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder; 2 with one line where that fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.dataflow.context")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "dataflow")
    options = parser.parse_args(argv)
    try:
        make_context(options.output)
    except SrganError as error:
        say(f"error: {error}")
        return error.exit_code
    say(
        f"docker build --tag <region>-docker.pkg.dev/<project>/<repository>/srgan-worker "
        f"{options.output}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
