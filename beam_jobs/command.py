"""The command line of ``build_pairs``, by Beam's conventions."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, get_args

import yaml

from beam_jobs.console import ProgressLine, summary
from beam_jobs.runners import LOCAL
from srgan.config import apply_override, load_yaml, parse
from srgan.dataset_config import DatasetConfig
from srgan.errors import ConfigError, exit_code_of
from srgan.frozen import Frozen
from srgan.workspace import prepare_environment

if TYPE_CHECKING:
    from beam_jobs.build_pairs import BuildResult

_DESCRIPTION = """\
Turn photos into an immutable dataset of LR/HR pairs for super-resolution.

Every file ends in a record or in rejected.jsonl with a reason. The same photos and settings
give the same bytes, on any runner; a dataset that is there already is recognised.
"""
_EPILOG = """\
examples:
  %(prog)s --input photos --output datasets
  %(prog)s --input lfw.tgz more/*.zip --output datasets --crop-size 128
  %(prog)s --input gs://bucket/parties --output gs://bucket/datasets --crop faces
  %(prog)s --input new --exclude datasets/faces-0123456789ab --output datasets
  %(prog)s --input photos --output datasets --degradation realistic \\
      --set 'realistic.second.jpeg=[40, 95]'

Options of Beam's own follow the same line, e.g. --runner=flink --job_endpoint=localhost:8099.
Names may be written with - or _. An interrupted build goes on when it is run again.
"""
_NESTED = tuple(
    name
    for name, field in DatasetConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen)
)
# The option that each section of the help begins with.
_SECTIONS = {
    "name": "dataset",
    "group": "splits",
    "alpha": "which images are accepted",
    "min_sharpness": "which HR images are accepted",
}
_CONFIG_OPTIONS = tuple(name for name in DatasetConfig.model_fields if name not in _NESTED)


class Build(Protocol):
    """The signature of :func:`beam_jobs.build_pairs.build` that the command needs."""

    def __call__(
        self,
        image_set: Sequence[str],
        root: str,
        config: DatasetConfig,
        *,
        exclude: Sequence[str],
        face_model: str | None,
        runner: str,
        workers: int,
        pipeline_args: Sequence[str],
        progress: ProgressLine,
    ) -> BuildResult: ...


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def run_command(argv: Sequence[str] | None, build: Build) -> int:
    """Parse, build, say what was built; errors for people in one line on stderr."""
    prepare_environment()

    def command() -> int:
        options, beam_args = make_parser().parse_known_args(
            with_dashes(sys.argv[1:] if argv is None else argv)
        )
        config = config_from(vars(options), options.set)
        with ProgressLine() as line:
            result = build(
                options.input,
                options.output,
                config,
                exclude=options.exclude,
                face_model=options.face_model,
                runner=options.runner,
                workers=options.workers,
                pipeline_args=beam_args,
                progress=line,
            )
        summary(result)
        return 0

    return exit_code_of(command, "interrupted; run the same command again to go on")


def make_parser() -> argparse.ArgumentParser:
    """All options of the job; those of the dataset come from :class:`DatasetConfig`."""
    parser = _Parser(
        prog="python -m beam_jobs.build_pairs",
        usage="%(prog)s --input PLACE --output PLACE [options] [options of Beam's]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=26, width=100
        ),
        allow_abbrev=False,
    )
    job = parser.add_argument_group("job")
    job.add_argument(
        "--input",
        required=True,
        nargs="+",
        action="extend",
        metavar="PLACE",
        help="image set: folders (nested), quoted globs, zip and tar files, gs://bucket/prefix",
    )
    job.add_argument(
        "--output",
        required=True,
        metavar="PLACE",
        help="folder or gs:// prefix in which the dataset <name>-<build id> is made",
    )
    job.add_argument(
        "--exclude",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATASET",
        help="leave out photos that these datasets have, and lookalikes of theirs in other splits",
    )
    job.add_argument(
        "--face-model",
        metavar="PLACE",
        help="file or URL of the YuNet model for --crop faces (default: looked for in "
        "SRGAN_WEIGHTS and ~/.cache/srgan/weights, else dlib's detector)",
    )
    job.add_argument(
        "--runner",
        default=LOCAL,
        help="local, flink, dataflow, or the name of one of Beam's runners (default: local)",
    )
    job.add_argument(
        "--workers",
        type=_natural,
        default=0,
        metavar="N",
        help="processes of the local runner; 0 chooses by the size of the image set (default: 0)",
    )
    groups = {title: parser.add_argument_group(title) for title in _SECTIONS.values()}
    section = ""
    for name in _CONFIG_OPTIONS:
        section = _SECTIONS.get(name, section)
        field = DatasetConfig.model_fields[name]
        text = (field.description or "").replace("%", "%%")
        default = "" if field.default is None else f" (default: {field.default})"
        groups[section].add_argument(
            _option(name), dest=name, metavar=_metavar(field.annotation), help=text + default
        )
    groups[_SECTIONS["name"]].add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a setting of {', '.join(_NESTED)} (see below)",
    )
    for name in _NESTED:
        parser.add_argument_group(f"settings of {name}", _settings(name))
    return parser


def _settings(name: str) -> str:
    """The settings below a key as lines of help."""
    model = DatasetConfig.model_fields[name].annotation
    assert isinstance(model, type)
    assert issubclass(model, Frozen)
    lines = []
    for key, field in model.model_fields.items():
        if key == "model_sha256":  # The builder's own.
            continue
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
        text = f"{field.description or ''} (default: {shown})".replace("%", "%%")
        lines += textwrap.wrap(
            f"--set {name}.{key}=…  {text}", 98, initial_indent="  ", subsequent_indent="      "
        )
    return "\n".join(lines)


def with_dashes(argv: Sequence[str]) -> list[str]:
    """``argv`` with our options in one spelling; Beam's keep theirs."""
    ours = {f"--{name}" for name in (*_CONFIG_OPTIONS, "face_model")}
    parts = (argument.partition("=") for argument in argv)
    return [
        (_option(name[2:]) if name in ours else name) + separator + value
        for name, separator, value in parts
    ]


def config_from(options: dict[str, Any], overrides: Sequence[str] = ()) -> DatasetConfig:
    """The dataset's settings; :class:`ConfigError` names the option that is wrong."""
    tree: dict[str, Any] = {}
    for name in _CONFIG_OPTIONS:
        text = options.get(name)
        if text is None:
            continue
        is_text = DatasetConfig.model_fields[name].annotation is str
        tree[name] = text if is_text else _value(name, text)
    for override in overrides:
        apply_override(tree, override)
    return parse(DatasetConfig, tree, "options")


def _value(name: str, text: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"{_option(name)}: {text!r} is no value") from None


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


_natural.__name__ = "number"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(annotation: Any) -> str:
    if annotation is str:
        return "TEXT"
    if choices := get_args(annotation):
        return "|".join(_words(choices)) or "N"
    return "X" if annotation is float else "N"


def _words(choices: Sequence[Any]) -> list[str]:
    return [str(choice) for choice in choices if isinstance(choice, (str, int))]
