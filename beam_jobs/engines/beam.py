"""Beam itself: imported late and quietly, its options checked, the one shape of our pipelines."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from srgan.errors import ConfigError

# They end in an exception when those whom they talk to are gone.
BEAM_THREADS = ("run_worker", "read_grpc_client_inputs", "beam_control_read")


def import_beam() -> Any:
    """``apache_beam``, without the warning about Google packages that we do not use."""
    with silent():
        import apache_beam
    return apache_beam


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
        with contextlib.redirect_stderr(complaint), silent():
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


def option(arguments: Sequence[str], *names: str) -> str | None:
    """The value that was given for the first of ``names``; ``""`` for a switch without one."""
    for name in names:
        # The last one counts, as it does for argparse.
        for index in reversed(range(len(arguments))):
            given, separator, value = arguments[index].partition("=")
            if given != f"--{name}":
                continue
            after = arguments[index + 1 : index + 2]
            return value if separator else "".join(a for a in after if not a.startswith("-"))
    return None


def make_pipeline(
    runner: Any,
    arguments: Sequence[str],
    function: Callable[[str], None],
    places: Sequence[str],
    step: str,
) -> Any:
    """Places, spread over the workers, and ``function`` of each."""
    beam = import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(arguments)))
    _ = (
        pipeline
        | "places" >> beam.Create(list(places))
        | "spread" >> beam.Reshuffle()
        | step >> beam.Map(function).with_output_types(None)
    )
    return pipeline


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """No log lines up to warnings."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def silent_beam() -> Iterator[None]:
    """No log lines of Beam's; what they say of a failure comes with the exception as well."""
    logger = logging.getLogger("apache_beam")
    before, hook = logger.level, threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or not args.thread.name.startswith(BEAM_THREADS):
            hook(args)

    logger.setLevel(logging.CRITICAL + 1)
    # What a job server reports, Beam logs as the root logger.
    logging.root.addFilter(_is_not_beams)
    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = hook
        logging.root.removeFilter(_is_not_beams)
        logger.setLevel(before)


def _is_not_beams(record: logging.LogRecord) -> bool:
    return "apache_beam" not in record.pathname
