"""Lines for the person at the terminal."""

from __future__ import annotations

import contextlib


def say(text: str) -> None:
    """Print at once; the terminal may be gone by now, which must not disturb the orderly end."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
