"""What is wrong with a dataset."""

from __future__ import annotations

from dataclasses import dataclass

from srgan.records import MANIFEST


@dataclass(frozen=True)
class Problem:
    """Something wrong with ``name``, a file of the dataset.

    ``expected`` and ``found`` are sha256 where a file is not the one that was published.
    """

    name: str
    what: str
    expected: str | None = None
    found: str | None = None

    def __str__(self) -> str:
        if self.found is None or self.expected is None:
            return f"{self.name}: {self.what}"
        return (
            f"{self.name}: {self.what} (sha256 {self.found[:12]}…, "
            f"{MANIFEST} says {self.expected[:12]}…)"
        )


def changed(name: str, expected: str, found: str) -> Problem:
    """A file whose bytes are others than those that were published."""
    return Problem(name, "changed since it was built", expected, found)
