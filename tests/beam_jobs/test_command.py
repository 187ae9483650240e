from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from beam_jobs.build_pairs import BuildProgress, main
from beam_jobs.command import config_from, make_parser, with_dashes
from beam_jobs.console import figures
from beam_jobs.runners import check_arguments, choose_engine, find_error
from srgan.dataset_config import DatasetConfig
from srgan.errors import ConfigError, DatasetError, StorageError
from tests.beam_jobs.image_sets import arguments, encoded, hashes, picture, run_command, write_set

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: str) -> tuple[int, str, str]:
        code = main(args)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def refused(answer: tuple[int, str, str]) -> str:
    """The one line of an error; the exit code is not 0 and there is no traceback."""
    code, out, err = answer
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if not line.startswith(("hashing", "making"))]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_build_and_build_again(run: Run, tmp_path: Path) -> None:
    people = write_set(tmp_path / "people")
    (people / "notes.txt").write_text("no picture")
    code, out, err = run(*arguments(people, tmp_path / "out"))
    (dataset,) = (tmp_path / "out").iterdir()
    assert code == 0
    assert f"{dataset.name}: built in" in out
    assert str(dataset) in out
    assert str(dataset / "preview.jpg") in out
    assert "1: 1 not_an_image (see rejected.jsonl)" in out
    assert "24 pairs of 6 groups" in out or "none; raise" in out
    assert "making pairs: 25/25 images, 1 rejected" in err
    assert len(err.splitlines()) < 10
    before = hashes(tmp_path)
    code, out, _ = run(*arguments(people, tmp_path / "out"))
    assert code == 0
    assert "already built; nothing to do" in out
    assert hashes(tmp_path) == before


def test_both_spellings_of_an_option(run: Run, tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=2)
    one = ("--hr-size", "32", "--val-fraction", "0.5", "--max-bytes=100000", "--crop-size", "32")
    assert with_dashes(["--face_model=x"]) == ["--face-model=x"]
    other = ("--hr_size", "32", "--val_fraction", "0.5", "--max_bytes=100000", "--crop_size", "32")
    for options in (one, other):
        place = ("--input", str(people), "--output", str(tmp_path / "out"))
        assert run(*place, *options)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_options_become_the_config() -> None:
    text = "--input a --output b --name x --scale 2 --hr-size 64 --group none --split-salt 7"
    options = make_parser().parse_args(text.split())
    expected = DatasetConfig(name="x", scale=2, hr_size=64, group="none", split_salt="7")
    assert config_from(vars(options)) == expected
    defaults = make_parser().parse_args(["--input", "a", "--output", "b"])
    assert config_from(vars(defaults)) == DatasetConfig()


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in DatasetConfig.model_fields.items():
        if name in ("faces", "realistic", "tone", "paired"):
            assert f"--set {name}." in text
            continue
        assert f"--{name.replace('_', '-')}" in text
        assert (field.description or "?").split(":")[0].split()[0] in text
    assert "--runner" in text


def test_examples_of_the_help_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out.partition("examples:")[2].partition("Options of")[0]
    examples = text.replace("\\\n", " ").strip().splitlines()
    assert len(examples) >= 5
    for example in examples:
        argv = shlex.split(example)
        assert argv[:3] == ["python", "-m", "beam_jobs.build_pairs"]
        options, beam_args = make_parser().parse_known_args(with_dashes(argv[3:]))
        config_from(vars(options), options.set)
        assert beam_args == []


def test_image_set_missing(run: Run, tmp_path: Path) -> None:
    line = refused(run(*arguments(tmp_path / "nowhere", tmp_path / "out")))
    assert line == f"{tmp_path}/nowhere: no such file or folder; give one with images"
    assert not (tmp_path / "out").exists()


def test_folder_empty(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = refused(run(*arguments(tmp_path / "empty", tmp_path / "out")))
    assert line == f"{tmp_path}/empty: no file in there; give a folder or an archive with images"
    assert not (tmp_path / "out").exists()


def test_no_file_matches(run: Run, tmp_path: Path) -> None:
    write_set(tmp_path / "people")
    line = refused(run(*arguments(f"{tmp_path}/people/*.jpg", tmp_path / "out")))
    assert line == f"{tmp_path}/people/*.jpg: no file matches; check the pattern"


@pytest.mark.parametrize("unread", [True, False])
def test_no_usable_image(run: Run, tmp_path: Path, unread: bool) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    (folder / "b.txt").write_bytes(b"" if unread else b"text")
    if not unread:
        (folder / "c.png").write_bytes(encoded(picture(1, 20, 20)))
    line = refused(run(*arguments(folder, tmp_path / "out")))
    assert line.startswith(f"{folder}: no usable image among {2 if unread else 3} files: ")
    assert "2 not_an_image" in line
    assert ("1 too_small" in line) != unread
    assert hashes(tmp_path / "out") == {}


def test_output_cannot_be_written(run: Run, tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    (tmp_path / "file").write_text("in the way")
    line = refused(run(*arguments(people, tmp_path / "file" / "out")))
    assert str(tmp_path / "file" / "out") in line
    assert "cannot write: Not a directory" in line
    assert "cannot write" in refused(run(*arguments(people, "/proc/srgan")))


def test_output_inside_the_image_set(run: Run, tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    assert "lies inside the image set" in refused(run(*arguments(people, people / "out")))
    assert not (people / "out").exists()


@pytest.mark.parametrize(
    ("pattern", "output"),
    [
        ("people/*", "people/out"),
        ("people/**/*.jpg", "people/out"),
        ("peo[p]le/*/*/*.jpg", "people/out"),
        ("link", "people/out"),
        ("people", "link/out"),
        ("people", "elsewhere/../people/out"),
    ],
)
def test_output_that_a_glob_or_a_link_reaches(
    run: Run, tmp_path: Path, pattern: str, output: str
) -> None:
    write_set(tmp_path / "people", people=1)
    (tmp_path / "link").symlink_to("people")
    (tmp_path / "elsewhere").mkdir()
    options = arguments(tmp_path / pattern, tmp_path / output)
    assert "lies inside the image set" in refused(run(*options))
    assert not (tmp_path / "people" / "out").exists()


@pytest.mark.parametrize("pattern", ["people/*.png", "people/person-*", "people/*/*.png"])
def test_output_beside_what_a_glob_names(run: Run, tmp_path: Path, pattern: str) -> None:
    write_set(tmp_path / "people", people=2)
    (tmp_path / "people" / "one.png").write_bytes(encoded(picture(99)))
    options = arguments(tmp_path / pattern, tmp_path / "people" / "out")
    first, second = run(*options), run(*options)
    assert first[0] == second[0] == 0
    assert "already built" in second[1]


def test_folders_that_the_shell_named_one_by_one(run: Run, tmp_path: Path) -> None:
    """Each photo would be a group by itself, and a person in several splits."""
    people = write_set(tmp_path / "people", people=3)
    (people / ".DS_Store").write_bytes(b"x")
    folders = sorted(str(path) for path in people.iterdir() if path.is_dir())
    start = ("--input", *folders, "--output", str(tmp_path / "out"), "--hr-size", "32")
    line = refused(run(*start))
    assert f"3 inputs in {people} (such as person-00)" in line
    assert "quote globs" in line
    assert run(*start, "--group", "none")[0] == 0
    assert run("--input", str(people / "person-*"), *start[4:])[0] == 0


def test_scheme_that_is_not_allowed(run: Run, tmp_path: Path) -> None:
    line = refused(run(*arguments("s3://bucket/photos", tmp_path / "out")))
    assert line == (
        "s3://bucket/photos: scheme 's3' is not supported; use a path or file://, gs://"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--runner", "spork"], "unknown runner 'spork'; use local, flink, dataflow or one of"),
        (["--runner", "DaskRunner"], "not offered: it loses data silently"),
        (["--frobnicate", "7"], "unknown option --frobnicate: neither this job nor Beam has it"),
        (["--frobnicate=7"], "unknown option --frobnicate"),
        (["stray"], "unexpected argument 'stray'"),
        (["--parallelism", "many"], "argument --parallelism: invalid int value: 'many'"),
        (["--workers", "-1"], "argument --workers: -1 is negative"),
        (["--workers", "two"], "argument --workers: invalid number value: 'two'"),
        (["--scale", "3"], "scale: Input should be 2, 4 or 8 (got 3)"),
        (["--hr-size", "30"], "hr_size 30 is not a multiple of scale 4"),
        (["--hr-size", "big"], "hr_size: Input should be a valid integer"),
        (["--crop-size", "16"], "crop_size 16 is smaller than hr_size 32"),
        (["--name", "Ada Lovelace"], "name: String should match pattern"),
        (["--group", "(a)(b)"], "must have exactly one capturing group"),
        (["--group", "(a"], "is no regular expression"),
        (["--val-fraction", "0.9"], "val_fraction: Input should be less than or equal to 0.5"),
        (["--crop-size", "[1"], "--crop-size: '[1' is no value"),
    ],
)
def test_bad_options(run: Run, tmp_path: Path, options: list[str], expected: str) -> None:
    people = write_set(tmp_path / "people", people=1)
    assert expected in refused(run(*arguments(people, tmp_path / "out"), *options))
    assert not (tmp_path / "out").exists()


def test_required_options(run: Run) -> None:
    assert "--input, --output" in refused(run("--scale", "4"))


def test_group_that_matches_nothing(run: Run, tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    line = refused(run(*arguments(people, tmp_path / "out"), "--group", "id-([0-9]+)"))
    assert "matches none of 4 files" in line


def test_an_error_in_the_shell_is_one_line(tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    (tmp_path / "file").write_text("in the way")
    line = refused(run_command(arguments(people, tmp_path / "file" / "out")))
    assert "cannot write" in line


def test_runner_names() -> None:
    assert choose_engine("local", ()).runner == "FnApiRunner"
    assert choose_engine("flink", ["--flink_version=1.20"]).runner == "FlinkRunner"
    assert choose_engine("flink", ["--job_endpoint=h:1", "--x=1"]).runner == "PortableRunner"
    assert choose_engine("dataflow", ["--project", "p"]).runner == "DataflowRunner"
    assert choose_engine("PrismRunner", ()).runner == "PrismRunner"
    assert choose_engine("fnapirunner", ()).local


def test_arguments_of_beam_pass() -> None:
    check_arguments(["--parallelism", "2", "--environment_type=LOOPBACK", "--streaming"])


def test_errors_are_found_in_what_beam_makes_of_them() -> None:
    text = (
        "Traceback (most recent call last):\n  File ...\n"
        "srgan.errors.StorageError: /a: cannot read: gone\n\nDuring handling …\n\n"
        "srgan.errors.DatasetError: /b: changed [while running 'write shards']\n"
    )
    found = find_error(RuntimeError(text))
    assert isinstance(found, DatasetError)
    assert str(found) == "/b: changed"
    chained = RuntimeError("bundle failed")
    chained.__cause__ = StorageError("/c: cannot write [while running 'hash']")
    assert str(find_error(chained)) == "/c: cannot write"
    assert find_error(ValueError("a defect of ours")) is None


def test_figures() -> None:
    assert figures(BuildProgress("pairs", 1024, 4000, 3), 310) == (
        "1,024/4,000 images, 3 rejected, 310/s, 0:10 left"
    )
    assert figures(BuildProgress("pairs", 4, 4, 0), 10) == "4/4 images"


def test_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from beam_jobs import console

    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=100)
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with console.ProgressLine() as line:
        line(BuildProgress("pairs", 10, 40, 2))
    assert "making pairs" in stream.getvalue()
    assert "10/40 images, 2 rejected" in stream.getvalue()


def test_bad_config_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="options: scale"):
        config_from({"scale": "5"})
