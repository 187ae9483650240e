"""Flink and Beam's job server as jars in a cache folder; fetched where they are not there.

    python -m infra.flink.distribution

Flink comes from PyPI (230 MB, pinned by sha256), Beam's side from Maven (100 MB). Beam's ready-made
job server would be one jar, which has to be downloaded from where not everybody gets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.processes import locked
from infra.local.output import say
from srgan.errors import SrganError

HERE = Path(__file__).parent
HOME = "SRGAN_FLINK_HOME"
FLINK, BEAM = "1.19.3", "2.62.0"
_JARS = ("flink-dist-", "log4j-api-", "log4j-core-", "log4j-slf4j-impl-")


@dataclass(frozen=True)
class Distribution:
    """Two folders of jars, which together are the class path of every process."""

    folder: Path

    @property
    def flink(self) -> Path:
        return self.folder / f"flink-{FLINK}"

    @property
    def beam(self) -> Path:
        return self.folder / f"beam-{BEAM}"

    @property
    def class_path(self) -> tuple[Path, Path]:
        return self.flink, self.beam

    @property
    def complete(self) -> bool:
        # Each is moved into its place when it is whole.
        return self.flink.is_dir() and self.beam.is_dir()


def cached() -> Distribution:
    """The distribution of this user, complete or not."""
    folder = os.environ.get(HOME) or Path.home() / ".cache" / "srgan" / "flink"
    return Distribution(Path(folder).expanduser().absolute())


def fetch(distribution: Distribution) -> None:
    """Bring what is missing; :class:`SrganError` in one line where that fails."""
    if distribution.complete:
        return
    with locked(distribution.folder / "lock", f"{distribution.folder}: another fetch is running"):
        if not distribution.flink.is_dir():
            say(f"fetching Flink {FLINK} from PyPI (230 MB)")
            with _workplace(distribution.folder) as work:
                _fetch_flink(Path(work), distribution.flink)
        if not distribution.beam.is_dir():
            say(f"fetching Beam's job server {BEAM} with Maven (100 MB)")
            with _workplace(distribution.folder) as work:
                _fetch_beam(Path(work), distribution.beam)


def _fetch_flink(work: Path, target: Path) -> None:
    # pip asks the source distribution for its metadata, which takes setuptools and nothing else.
    _run(
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"),
            *("--no-deps", "--no-binary", ":all:", "--require-hashes"),
            *("--requirement", str(HERE / "requirements.txt"), "--dest", str(work)),
        ],
        "Flink",
    )
    (archive,) = work.glob("*.tar.gz")
    jars = work / "jars"
    jars.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            if member.isfile() and "/deps/lib/" in member.name and name.startswith(_JARS):
                source = tar.extractfile(member)
                assert source is not None
                with source, (jars / name).open("wb") as stream:
                    shutil.copyfileobj(source, stream)
    jars.rename(target)


def _fetch_beam(work: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SrganError(
            "no mvn on the PATH: it fetches Beam's job server; install Maven (Debian: apt install "
            "maven)"
        )
    _run(
        [
            *(maven, "--quiet", "--batch-mode", "--file", str(HERE / "pom.xml")),
            *("dependency:copy-dependencies", "-DincludeScope=runtime"),
            # Flink is there already, of one version.
            *("-DexcludeGroupIds=org.apache.flink", f"-DoutputDirectory={work / 'jars'}"),
        ],
        "Beam's job server",
    )
    (work / "jars").rename(target)


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "ERR" in line.upper()]
        reason = lines[0].strip() if lines else f"{command[0]} ended with {done.returncode}"
        raise SrganError(f"cannot fetch {what}: {reason}")


def _workplace(folder: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder)


def main() -> int:
    """Fetch, say where it is."""
    began = time.monotonic()
    distribution = cached()
    try:
        fetch(distribution)
    except SrganError as error:
        say(f"error: {error}")
        return error.exit_code
    say(f"{distribution.folder}: complete ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
