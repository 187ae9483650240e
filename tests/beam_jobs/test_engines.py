"""What the engines share: names of jobs, errors in one line, checks before anything runs."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from beam_jobs.engines.beam import option
from beam_jobs.engines.failures import EngineError, in_one_line
from beam_jobs.engines.notes import WithNote, read_note
from beam_jobs.engines.remote import job_name
from beam_jobs.runners import choose_engine
from srgan.errors import ConfigError, DatasetError, SrganError

FLINK = """\
Pipeline srgan-make-pairs-1_5ca3 failed in state FAILED: java.lang.RuntimeException: Error \
received from SDK harness for instruction 4: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in process
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "beam_jobs/units.py", line 6, in write_unit
ZeroDivisionError: division by zero [while running 'make pairs']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient
"""
NO_SLOTS = """\
Pipeline srgan-hash-1_17 failed in state FAILED: org.apache.flink.runtime.jobmanager.scheduler.\
NoResourceAvailableException: Slot request bulk is not fulfillable!
\tat org.apache.flink.runtime.jobmaster.slotpool
"""
DATAFLOW = """\
Dataflow pipeline failed. State: FAILED, Error:
Workflow failed. Causes: The zone 'europe-west4-a' does not have enough resources.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FLINK, "ZeroDivisionError: division by zero"),
        (NO_SLOTS, "NoResourceAvailableException: Slot request bulk is not fulfillable!"),
        (DATAFLOW, "Workflow failed. Causes: The zone 'europe-west4-a' does not have enough"),
        ("Dataflow pipeline failed. State: FAILED, Error:\n", "Dataflow pipeline failed. State"),
        ("", "RuntimeError"),
        ("a" * 1000, "a" * 300 + "…"),
    ],
)
def test_failures_in_one_line(text: str, expected: str) -> None:
    line = in_one_line(RuntimeError(text))
    assert expected in line
    assert "\n" not in line
    assert len(line) <= 301


def test_names_of_jobs_are_readable_and_unique() -> None:
    names = {job_name(None, "make pairs") for _ in range(20)}
    # What Dataflow asks of a name.
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", name) for name in names)
    assert all(name.startswith("srgan-make-pairs-2") for name in names)
    assert len(names) > 15
    assert job_name("Faces_of 2024", "hash").startswith("faces-of-2024-hash-")


def test_options_as_argparse_reads_them() -> None:
    arguments = ["--a=1", "--b", "2", "--switch", "--c", "--a", "3", "--empty="]
    assert option(arguments, "a") == "3"
    assert option(arguments, "b") == "2"
    assert option(arguments, "switch") == ""
    assert option(arguments, "c") == ""
    assert option(arguments, "empty") == ""
    assert option(arguments, "none") is None
    assert option(arguments, "none", "b") == "2"


def test_a_note_carries_the_error_and_stops_the_others(tmp_path: Path) -> None:
    note = str(tmp_path / ".parts" / "note.json")
    seen: list[str] = []

    def work(place: str) -> None:
        seen.append(place)
        if place == "b":
            raise DatasetError("b: changed meanwhile")

    noted = WithNote(work, note)
    noted("a")
    assert read_note(note) is None
    for place in "bcd":
        noted(place)
    assert seen == ["a", "b"]
    found = read_note(note)
    assert isinstance(found, DatasetError)
    assert str(found) == "b: changed meanwhile"


def test_a_note_of_an_unknown_kind_is_still_an_error(tmp_path: Path) -> None:
    class OwnError(SrganError):
        """Of a module that the driver does not look into."""

    def work(_place: str) -> None:
        raise OwnError("the detector is gone")

    note = str(tmp_path / "note.json")
    WithNote(work, note)("a")
    assert str(read_note(note)) == "the detector is gone"


def test_a_defect_is_no_note(tmp_path: Path) -> None:
    def work(_place: str) -> None:
        raise ZeroDivisionError

    note = str(tmp_path / "note.json")
    with pytest.raises(ZeroDivisionError):
        WithNote(work, note)("a")
    assert read_note(note) is None


def test_flink_without_a_job_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
    with pytest.raises(
        EngineError, match=rf"localhost:{port}: no job server answers \(.*start one"
    ):
        choose_engine("flink", options).check([])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--job_endpoint=localhost:1"], "--job_endpoint without --environment_type"),
        (["--job_endpoint", "localhost", "--environment_type=LOOPBACK"], "no host:port"),
    ],
)
def test_options_of_flink(options: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        choose_engine("flink", options).check([])


def test_workers_are_flinks_parallelism() -> None:
    options = ["--job_endpoint=localhost:1", "--environment_type=LOOPBACK"]
    assert choose_engine("flink", options).arguments_for("hash") == options
    assert choose_engine("flink", options, 4).arguments_for("hash")[-1] == "--parallelism=4"
    given = [*options, "--parallelism=2"]
    assert choose_engine("flink", given, 4).arguments_for("hash") == given
