"""Which engine runs a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs.engines import dataflow, flink
from beam_jobs.engines.beam import check_arguments, import_beam, make_pipeline, option, silent_beam
from beam_jobs.engines.failures import EngineError, find_error
from beam_jobs.engines.remote import run_remotely
from beam_jobs.interruptible import run_interruptibly
from beam_jobs.processes import run_in_processes
from srgan.errors import ConfigError

__all__ = ["LOCAL", "Engine", "EngineError", "check_arguments", "choose_engine", "find_error"]

LOCAL = "local"
# Beam's DaskRunner computes only the last transform and loses tagged outputs, with exit code 0;
# the interactive one is for notebooks.
_REFUSED = {"DaskRunner": "it loses data silently", "InteractiveRunner": "it is for notebooks"}
_FLINK = ("PortableRunner", "FlinkRunner")
_DATAFLOW = "DataflowRunner"


@dataclass(frozen=True)
class Engine:
    """A Beam runner and the options that the user gave for it.

    ``workers`` is the parallelism on Flink and the most machines on Dataflow; 0 leaves it to them.
    """

    runner: str
    arguments: tuple[str, ...]
    local: bool
    workers: int = 0

    def check(self, places: Sequence[str]) -> None:
        """:class:`ConfigError` or :class:`EngineError` for what is known to fail beforehand.

        ``places`` are those that workers read and write.
        """
        if self.runner in _FLINK:
            flink.check(self.arguments)
        if self.runner == _DATAFLOW:
            dataflow.check(self.arguments, places)

    def run(
        self, function: Callable[[str], None], places: Sequence[str], workers: int, name: str
    ) -> None:
        """Call ``function(place)`` for every place, each once or, after a failure, again.

        ``workers`` counts for the local engine only: 2 and more are processes of their own. An
        error that a person can act on comes back as that error, from whichever process.
        """
        if not places:
            return
        self.check(places[:1])
        with silent_beam():
            if self.local:
                self._run_here(function, places, workers, name)
            else:
                run_remotely(self.runner, self.arguments_for(name), function, places, name)

    def arguments_for(self, step: str) -> list[str]:
        """The user's options, and what the engine needs beyond them."""
        arguments = list(self.arguments)
        if self.runner in _FLINK:
            arguments += flink.arguments_for(arguments, self.workers)
        if self.runner == _DATAFLOW:
            arguments += dataflow.arguments_for(arguments, self.workers, step)
        return arguments

    def _run_here(
        self, function: Callable[[str], None], places: Sequence[str], workers: int, name: str
    ) -> None:
        def run(runner: Any, function: Callable[[str], None], *more: str) -> None:
            arguments = [*more, *self.arguments]
            make_pipeline(runner, arguments, function, places, name).run().wait_until_finish()

        count = f"--direct_num_workers={workers}"
        try:
            if workers > 1:
                run_in_processes(lambda runner: run(runner, function, count))
            else:
                run_interruptibly(lambda stoppable: run(self.runner, stoppable), function)
        except Exception as error:
            found = find_error(error)
            if found is None:
                raise
            raise found from None


def choose_engine(runner: str, pipeline_args: Sequence[str], workers: int = 0) -> Engine:
    """The engine that a ``--runner`` names: ``local``, ``flink``, ``dataflow`` or Beam's own name.

    Raises :class:`ConfigError` for an unknown runner or an option that Beam does not know (Beam
    itself would ignore it).
    """
    known = {LOCAL: "FnApiRunner", "flink": flink.runner(pipeline_args), "dataflow": _DATAFLOW}
    name = known.get(runner) or _beam_runner(runner)
    # Further options of a job server are known to nobody but it.
    if not (name == "PortableRunner" and option(pipeline_args, "job_endpoint") is not None):
        check_arguments(pipeline_args)
    return Engine(name, tuple(pipeline_args), name == "FnApiRunner", workers)


def _beam_runner(runner: str) -> str:
    import_beam()
    from apache_beam.options.pipeline_options import StandardOptions

    known = ("FnApiRunner", *_REFUSED, *StandardOptions.KNOWN_RUNNER_NAMES)
    names = {name.lower(): name for name in known}
    name: str | None = names.get(runner.lower()) or names.get(f"{runner}runner".lower())
    if name is None:
        offered = sorted(n for n in set(known) - set(_REFUSED) if not n.startswith("Test"))
        raise ConfigError(
            f"unknown runner {runner!r}; use local, flink, dataflow or one of Beam's: "
            + ", ".join(offered)
        )
    if name in _REFUSED:
        raise ConfigError(f"runner {runner!r} is not offered: {_REFUSED[name]}; use local or flink")
    return name
