"""Which engine runs a pipeline, with which options, and what its errors say."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs.processes import run_in_processes
from srgan import errors
from srgan.errors import ConfigError, SrganError

LOCAL = "local"
# Beam's DaskRunner computes only the last transform and loses tagged outputs, with exit code 0;
# the interactive one is for notebooks.
_REFUSED = {"DaskRunner": "it loses data silently", "InteractiveRunner": "it is for notebooks"}
_ERROR = re.compile(r"srgan\.errors\.(\w+): ([^\n]+)")
_WHILE_RUNNING = re.compile(r"( \[while running .*| \[\d+\]|\\n.*)$")


@dataclass(frozen=True)
class Engine:
    """A Beam runner and the options it gets."""

    runner: str
    arguments: tuple[str, ...]
    local: bool

    def run(
        self, function: Callable[[str], None], places: Sequence[str], workers: int, name: str
    ) -> None:
        """Call ``function(place)`` for every place, each once or, after a failure, again.

        ``workers`` counts for the local engine only: 2 and more are processes of their own. An
        error that a person can act on comes back as that error, from whichever process.
        """
        if not places:
            return
        beam = import_beam()
        from apache_beam.options.pipeline_options import PipelineOptions

        def run(chosen: Any) -> None:
            pipeline = beam.Pipeline(runner=chosen, options=PipelineOptions(list(arguments)))
            _ = (
                pipeline
                | "places" >> beam.Create(list(places))
                | "spread" >> beam.Reshuffle()
                | name >> beam.Map(function).with_output_types(None)
            )
            pipeline.run().wait_until_finish()

        arguments = self.arguments
        try:
            with _silent_beam():
                if self.local and workers > 1:
                    arguments = (f"--direct_num_workers={workers}", *arguments)
                    run_in_processes(run)
                else:
                    run(self.runner)
        except Exception as error:
            found = find_error(error)
            if found is None:
                raise
            raise found from None


def choose_engine(runner: str, pipeline_args: Sequence[str]) -> Engine:
    """The engine that a ``--runner`` names: ``local``, ``flink``, ``dataflow`` or Beam's own name.

    Raises :class:`ConfigError` for an unknown runner or an option that Beam does not know (Beam
    itself would ignore it).
    """
    has_endpoint = any(a.partition("=")[0] == "--job_endpoint" for a in pipeline_args)
    known = {
        LOCAL: "FnApiRunner",
        "flink": "PortableRunner" if has_endpoint else "FlinkRunner",
        "dataflow": "DataflowRunner",
    }
    name = known.get(runner) or _beam_runner(runner)
    # Further options of a job server are known to nobody but it.
    if not (name == "PortableRunner" and has_endpoint):
        check_arguments(pipeline_args)
    return Engine(name, tuple(pipeline_args), local=name == "FnApiRunner")


def check_arguments(arguments: Sequence[str]) -> None:
    """:class:`ConfigError` for the first argument that is no option of Beam's."""
    if not arguments:
        return
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    for index, argument in enumerate(arguments):
        before = arguments[index - 1] if index else ""
        if not argument.startswith("-") and (not before.startswith("-") or "=" in before):
            raise ConfigError(f"unexpected argument {argument!r}; see --help")
    options = PipelineOptions(list(arguments))
    complaint = io.StringIO()
    try:
        # Beam warns of what it does not know; our own line says it.
        with contextlib.redirect_stderr(complaint), _silent():
            accepted = options.get_all_options()
            everything = options.get_all_options(retain_unknown_options=True)
    except SystemExit:
        line = complaint.getvalue().strip().rpartition("error: ")[2]
        raise ConfigError(f"Beam's options: {' '.join(line.split())}") from None
    unknown = sorted(set(everything) - set(accepted))
    if unknown:
        raise ConfigError(
            f"unknown option --{unknown[0]}: neither this job nor Beam has it; see --help"
        )


def find_error(error: BaseException) -> SrganError | None:
    """The error for people inside what Beam made of it: in the chain, else in the text."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SrganError):
            return type(link)(_clean(str(link)))
        link = link.__cause__ or link.__context__
    found = _ERROR.findall(str(error))
    if not found:
        return None
    name, message = found[-1]
    kind = getattr(errors, name, SrganError)
    return kind(_clean(message)) if issubclass(kind, SrganError) else None


def import_beam() -> Any:
    """``apache_beam``, without the warning about Google packages that we do not use."""
    with _silent():
        import apache_beam
    return apache_beam


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No log lines up to warnings."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


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


@contextlib.contextmanager
def _silent_beam() -> Iterator[None]:
    logger = logging.getLogger("apache_beam")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _clean(message: str) -> str:
    return _WHILE_RUNNING.sub("", message)
