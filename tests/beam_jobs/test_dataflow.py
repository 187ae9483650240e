"""Builds by Beam's own Dataflow client, up to the doors of Google's service.

The client is the real one: it checks, stages and submits, to a bucket that a real server holds.
Google's service itself cannot be had; what stands in for it runs the pipelines that were staged.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from beam_jobs.build_pairs import build
from beam_jobs.engines import dataflow
from beam_jobs.runners import choose_engine
from infra.dataflow.context import ROOTS, closure, make_context, pins
from srgan.errors import ConfigError, SrganError
from tests.beam_jobs.dataflow_service import Service, running_service, steps_of
from tests.beam_jobs.image_sets import SMALL, arguments, hashes, run_command, write_set
from tests.gcs_server import photos_bucket, running_server
from tests.support import ROOT, needs

IMAGE = "europe-docker.pkg.dev/faces/beam/srgan-worker:1"
PLACES = ["--project=faces", "--region=europe-west4", "--temp_location=gs://photos/temp"]
OPTIONS = [*PLACES, f"--sdk_container_image={IMAGE}"]


@pytest.fixture
def client() -> None:
    needs("dataflow", dataflow.has_packages(), "pip install google-cloud-dataflow-client")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (OPTIONS[1:], "--runner=dataflow needs --project=<project id>"),
        ([*OPTIONS[:1], *OPTIONS[2:]], "--runner=dataflow needs --region=<region>"),
        (["--project", "faces", "--region", "x"], "needs --temp_location=gs://<bucket>/<prefix>"),
        ([*OPTIONS, "--temp_location=/data"], "--temp_location=/data: Dataflow's machines see"),
        ([*OPTIONS, "--staging_location", "x"], "--staging_location=x: Dataflow's machines see"),
        ([*OPTIONS, "--template_location=gs://a/b"], "which no template can hold"),
        (PLACES, "needs --sdk_container_image=<image>"),
    ],
)
def test_what_is_missing_is_said_at_once(options: list[str], expected: str) -> None:
    engine = choose_engine("dataflow", options)
    with pytest.raises(ConfigError) as caught:
        engine.check(["gs://photos/faces", "gs://photos/out"])
    assert expected in str(caught.value)


@pytest.mark.parametrize("places", [["gs://photos/faces", "/out"], ["photos", "gs://photos/out"]])
def test_places_that_google_cannot_see(places: list[str]) -> None:
    engine = choose_engine("dataflow", OPTIONS)
    with pytest.raises(ConfigError, match="with --runner=dataflow input and output must be on gs"):
        engine.check(places)


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataflow, "has_packages", lambda: False)
    with pytest.raises(ConfigError, match=r"needs Google's client for it: pip install"):
        choose_engine("dataflow", OPTIONS).check([])


def test_what_was_given_stays() -> None:
    given = [*OPTIONS, "--number_of_worker_harness_threads=4", "--sdk_location=default"]
    more = dataflow.arguments_for([*given, "--max_num_workers", "3"], 9, "make pairs")
    assert more == [
        "--no_save_main_session",
        "--labels=app=srgan-faces",
        "--labels=step=make-pairs",
    ]
    more = dataflow.arguments_for(PLACES, 9, "hash")
    assert more[3:] == ["--number_of_worker_harness_threads=2", "--max_num_workers=9"]


def test_the_image_has_the_locked_versions_and_nothing_heavy() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    text = pins(lock, closure(ROOTS))
    assert text
    # Every line of it is in the lock, and every package has its hashes.
    assert set(text.splitlines()) <= set(lock.splitlines())
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    names = {block.partition("==")[0] for block in blocks}
    assert {"apache-beam", "pillow", "numpy", "gcsfs", "pydantic-core", "grpcio"} <= names
    assert not names & {"tensorflow", "keras", "mlflow", "prefect", "matplotlib", "fastapi"}
    assert len(names) < 90
    with pytest.raises(SrganError, match=r"requirements\.lock has no no-such-package"):
        pins(lock, {"pillow", "no-such-package"})


@pytest.fixture
def bucket() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the workers' image, as its requirements name them, and our wheel."""
    context = tmp_path_factory.mktemp("build") / "dataflow"
    make_context(context)
    packages = tmp_path_factory.mktemp("image")
    (wheel,) = context.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    pinned = re.findall(r"^(\S+)==", (context / "requirements.txt").read_text(), re.MULTILINE)
    for name in pinned:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(found.locate_file(top))))
    return packages


@pytest.fixture
def service(bucket: str, image: Path) -> Iterator[Service]:
    with running_service(bucket, image) as running:
        yield running


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.usefixtures("client")
def test_a_build_is_three_jobs_of_the_service(
    service: Service, bucket: str, tmp_path: Path
) -> None:
    people = write_set(tmp_path / "people")
    _upload(people, bucket)
    build(str(people), str(tmp_path / "out"), SMALL)
    code, out, err = _build(service, bucket, *OPTIONS, "--workers=7")
    assert (code, "built in" in out) == (0, True), err
    found = tmp_path / "downloaded"
    for blob in photos_bucket(bucket).list_blobs(prefix="out/"):
        (found / blob.name[4:]).parent.mkdir(parents=True, exist_ok=True)
        (found / blob.name[4:]).write_bytes(blob.download_as_bytes())
    assert hashes(found) == hashes(tmp_path / "out")

    assert len(service.jobs) == 3
    steps = [job["labels"].pop("step") for job in service.jobs.values()]
    assert len(set(steps)) == 3
    for step, job in zip(steps, service.jobs.values(), strict=True):
        assert job["name"].startswith(f"srgan-{step}-")
        assert (job["project"], job["location"]) == ("faces", "europe-west4")
        assert job["labels"] == {"app": "srgan-faces"}
        environment = job["environment"]
        options = environment["sdkPipelineOptions"]["options"]
        assert options["save_main_session"] is False
        assert options["sdk_location"] == "container"
        assert options["region"] == "europe-west4"
        assert options["temp_location"].startswith("gs://photos/temp/")
        (pool,) = environment["workerPools"]
        assert pool["workerHarnessContainerImage"] == IMAGE
        assert pool["numThreadsPerWorker"] == 2
        # Nothing to install: all of it is in the image.
        assert "packages" not in pool
        staged = photos_bucket(bucket).blob(options["pipelineUrl"].removeprefix("gs://photos/"))
        assert steps_of(staged.download_as_bytes()) == ["places", "spread", step.replace("-", " ")]


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.usefixtures("client")
def test_errors_come_back_in_one_line(service: Service, bucket: str, tmp_path: Path) -> None:
    _upload(write_set(tmp_path / "people", people=1), bucket)
    photo = "people/person-00/photo-1.png"

    service.before = photos_bucket(bucket).blob(photo).delete
    code, _, err = _build(service, bucket, *OPTIONS)
    line = err.splitlines()[-1]
    assert code == 2
    assert line.startswith(f"error: gs://photos/{photo}: ")
    # An error of ours is no failure of the job, which would be tried four times.
    assert [service.state(job)["currentState"] for job in service.jobs] == ["JOB_STATE_DONE"]

    service.refusal = "Permission dataflow.jobs.create denied on project faces"
    code, _, err = _build(service, bucket, *OPTIONS)
    line = err.splitlines()[-1]
    assert code == 2
    assert line.startswith("error: srgan-hash-")
    assert service.refusal in line
    assert "Traceback" not in err


def _build(service: Service, bucket: str, *options: str) -> tuple[int, str, str]:
    return run_command(
        [
            *arguments("gs://photos/people", "gs://photos/out", "--runner=dataflow", *options),
            # Beam asks for no credentials, and speaks REST with a service on localhost.
            *("--no_auth", f"--dataflow_endpoint=http://localhost:{service.port}"),
        ],
        {"STORAGE_EMULATOR_HOST": bucket},
    )


def _upload(people: Path, bucket: str) -> None:
    for path in people.rglob("*.png"):
        blob = photos_bucket(bucket).blob(f"people/{path.relative_to(people).as_posix()}")
        blob.upload_from_string(path.read_bytes())
