"""Trains the preset ``tiny`` in a process of its own, to be killed: dataset, then overrides."""

from __future__ import annotations

import sys

from srgan.config import load_run_config
from srgan.errors import SrganError
from srgan.records import open_dataset
from srgan.trainer import train
from srgan.workspace import prepare_environment


def main(dataset: str, *overrides: str) -> int:
    workspace = prepare_environment()
    try:
        result = train(load_run_config("tiny", overrides), [open_dataset(dataset)], workspace)
    except SrganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(result.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
