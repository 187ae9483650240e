"""A build from a bucket into a bucket, with a real server that speaks GCS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from beam_jobs.build_pairs import build
from tests.beam_jobs.image_sets import SMALL, arguments, hashes, run_command, write_set
from tests.gcs_server import photos_bucket, running_server
from tests.support import ROOT

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture
def environment(server: str) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": server}


def test_from_bucket_to_bucket(environment: Mapping[str, str], tmp_path: Path) -> None:
    people = write_set(tmp_path / "people")
    (people / "notes.txt").write_text("not a photo")
    (people / "empty.png").write_bytes(b"")
    local = build(str(people), str(tmp_path / "out"), SMALL).dataset
    bucket = photos_bucket(environment["STORAGE_EMULATOR_HOST"])
    for path in people.rglob("*"):
        if path.is_file():
            name = f"sets/people/{path.relative_to(people).as_posix()}"
            bucket.blob(name).upload_from_string(path.read_bytes())
    for image_set in ("gs://photos/sets/people", "gs://photos/sets/people/**"):
        code, out, err = run_command(arguments(image_set, "gs://photos/out"), environment)
        assert code == 0, err
        expected = "built in" if image_set.endswith("people") else "already built"
        assert f"small-{local.manifest.build_id}: {expected}" in out
    found = {
        blob.name.removeprefix("out/"): blob.download_as_bytes()
        for blob in bucket.list_blobs(prefix="out/")
    }
    for name, data in found.items():
        target = tmp_path / "downloaded" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    assert hashes(tmp_path / "downloaded") == hashes(tmp_path / "out")


def test_two_builders_of_one_bucket(environment: Mapping[str, str], tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=3, first_seed=20)
    script = (
        "import sys\n"
        "from beam_jobs.build_pairs import build\n"
        "from tests.beam_jobs.image_sets import SMALL\n"
        "others = []\n"
        "def listen(progress):\n"
        "    if progress.stage == 'publish' and not others:\n"
        "        others.append(build(*sys.argv[1:3], SMALL))\n"
        "mine = build(*sys.argv[1:3], SMALL, progress=listen)\n"
        "assert not others[0].already_built and mine.by_another\n"
        "assert mine.dataset == others[0].dataset\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(people), "gs://photos/race"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    bucket = photos_bucket(environment["STORAGE_EMULATOR_HOST"])
    names = [blob.name for blob in bucket.list_blobs(prefix="race/")]
    assert names
    assert not any("/.parts/" in name or "/.inventory" in name for name in names)


def test_errors_of_buckets(environment: Mapping[str, str], tmp_path: Path) -> None:
    people = write_set(tmp_path / "people", people=1)
    code, _, err = run_command(arguments("gs://photos/nothing", tmp_path / "out"), environment)
    assert (code, err) == (
        2,
        "error: gs://photos/nothing: nothing is there; check the bucket and the prefix\n",
    )
    code, _, err = run_command(arguments(people, "gs://no-such-bucket/out"), environment)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: gs://no-such-bucket/out/")
    assert "Traceback" not in err
