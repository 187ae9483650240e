"""From what an engine makes of an error back to one line."""

from __future__ import annotations

import re

from srgan import errors
from srgan.errors import SrganError

_OURS = re.compile(r"srgan\.errors\.(\w+): ([^\n]+)")
_STEP = re.compile(r"^([\w.]+: .*?) \[while running ", re.MULTILINE)
_HEAD = re.compile(r"^(Pipeline \S+ failed in state \w+:|Dataflow pipeline failed\. .*?Error:)")
_WHILE_RUNNING = re.compile(r"( \[while running .*| \[\d+\]|\\n.*)$")
_LONGEST = 300


class EngineError(SrganError):
    """An engine could not be reached, refused a job, or gave it up."""


def find_error(error: BaseException) -> SrganError | None:
    """The error for people inside what Beam made of it: in the chain, else in the text."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SrganError):
            return type(link)(_clean(str(link)))
        link = link.__cause__ or link.__context__
    found = _OURS.findall(str(error))
    return make_error(*found[-1]) if found else None


def make_error(name: str, message: str) -> SrganError | None:
    """The error of the class ``name``; ``None`` when that is no error for people."""
    kind = getattr(errors, name, SrganError)
    return kind(_clean(message)) if issubclass(kind, SrganError) else None


def in_one_line(error: BaseException) -> str:
    """What a person reads of an engine's failure: its cause, without Java's and Python's stacks."""
    text = _HEAD.sub("", str(error)).strip()
    steps = _STEP.findall(text)
    line = steps[-1] if steps else text.partition("\n")[0]
    line = " ".join(line.split()) or " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _clean(message: str) -> str:
    return _WHILE_RUNNING.sub("", message)
