"""The Java that runs Flink, and how its processes are started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import SrganError

VERSIONS = range(11, 22)
# What Flink 1.19 and Beam reach into on Java 17.
_OPEN = (
    *("java.lang", "java.lang.reflect", "java.net", "java.io", "java.nio", "java.text"),
    *("java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
    *("java.util.concurrent.locks", "sun.nio.ch"),
)
# The work is Python's: what is left for Java is over before the great compiler would pay.
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_INSTALL = "install one (Debian: apt install default-jdk-headless), or set JAVA_HOME"


@dataclass(frozen=True)
class Java:
    """A ``java`` of a JDK 11 to 21."""

    program: str
    version: int

    def command(
        self,
        main: str,
        *arguments: str,
        class_path: Sequence[Path],
        properties: dict[str, str],
        memory: dict[str, int],
    ) -> list[str]:
        """The command line; ``memory`` in MiB by JVM option, such as ``{"-Xmx": 512}``."""
        return [
            self.program,
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPEN),
            *_QUICK,
            *(f"{option}{size}m" for option, size in memory.items()),
            *(f"-D{name}={value}" for name, value in properties.items()),
            *("-cp", os.pathsep.join(f"{folder}/*" for folder in class_path)),
            main,
            *arguments,
        ]


def find_java() -> Java:
    """The JDK of ``JAVA_HOME``, else of the PATH; :class:`SrganError` says what is missing."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if program is None:
        raise SrganError(f"no java on the PATH: Flink needs a JDK, 11 to 21; {_INSTALL}")
    try:
        modules = subprocess.run(
            [program, "--list-modules"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise SrganError(f"{program} does not run or is older than 11; {_INSTALL}") from None
    found = re.search(r"^java\.base@(\d+)", modules, re.MULTILINE)
    version = int(found[1]) if found else 0
    if version not in VERSIONS:
        raise SrganError(f"{program} is version {version}: Flink 1.19 needs 11 to 21; {_INSTALL}")
    if "jdk.compiler@" not in modules:
        raise SrganError(f"{program} belongs to a JRE: a JDK is needed; {_INSTALL}")
    return Java(program, version)
