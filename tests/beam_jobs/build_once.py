"""One build in a process of its own: ``build_once.py '<JSON of build()'s arguments>'``.

Prints the dataset's place, the seconds that it took and the most memory that was ever resident.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from beam_jobs.build_pairs import build
from srgan.dataset_config import DatasetConfig
from srgan.errors import SrganError


def main() -> int:
    arguments = json.loads(sys.argv[1])
    config = DatasetConfig.model_validate(arguments.pop("config"))
    try:
        result = build(config=config, **arguments)
    except SrganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"place": result.dataset.place, "seconds": result.seconds, "peak": _peak()}))
    return 0


def _peak() -> int:
    """Bytes. (``getrusage`` counts what the parent had when it started this process, too.)"""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
