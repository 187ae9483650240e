"""Errors that a person can act on."""

from __future__ import annotations

import sys
from collections.abc import Callable


class SrganError(Exception):
    """One clear line for the person at the keyboard: the thing, its value, the fix.

    The command line, the Beam job and the flows print it without a traceback and end with
    ``exit_code``. Anything else that escapes is a defect of ours and keeps its traceback.
    """

    exit_code = 2


class ConfigError(SrganError):
    """A setting is unknown, out of range or contradicts another."""


class StorageError(SrganError):
    """A place cannot be listed, read or written."""


class DatasetError(SrganError):
    """A dataset is missing, incomplete or not what its manifest says."""


class ModelError(SrganError):
    """A model is unknown, damaged or not what its card says."""


class RegistryError(SrganError):
    """The MLflow server or store cannot be reached or refuses."""


class TrainingError(SrganError):
    """Training cannot start or cannot go on."""


def exit_code_of(command: Callable[[], int], interrupted: str) -> int:
    """Run a command; an error is one line on standard error, Ctrl-C the line ``interrupted``."""
    try:
        return command()
    except SrganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
