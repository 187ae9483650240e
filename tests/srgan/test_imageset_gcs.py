"""Image sets in a bucket and streams into one, with a real server that speaks GCS."""

from __future__ import annotations

import gc
import hashlib
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import gcsfs
import pytest
from google.cloud.storage import Bucket

from srgan import storage
from srgan.errors import SrganError, StorageError
from srgan.imageset import ImageFile, list_image_set, read_file, sha256_of
from tests.gcs_server import photos_bucket, running_server
from tests.srgan.archive_files import FILES, names, write_tar, write_zip

pytestmark = [pytest.mark.server]

LIMIT = 1 << 20
SPOOL = "gs://photos/spool"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as patch, running_server() as address:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield photos_bucket(address)
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the requests that gcsfs sends."""
    sent: list[str] = []
    real = gcsfs.GCSFileSystem._call

    async def recorded(
        self: object, method: str, path: str, *args: object, **rest: object
    ) -> object:
        sent.append(f"{method} {path}")
        return await real(self, method, path, *args, **rest)

    monkeypatch.setattr(gcsfs.GCSFileSystem, "_call", recorded)
    return sent


def upload(bucket: Bucket, name: str, data: bytes) -> str:
    bucket.blob(name).upload_from_string(data)
    return f"gs://photos/{name}"


def listed(*inputs: str) -> list[ImageFile]:
    return list_image_set(inputs, spool=SPOOL, max_bytes=LIMIT)


def read(files: list[ImageFile]) -> dict[str, bytes]:
    return {file.name: read_file(file, max_bytes=LIMIT) for file in files}


def test_folders_archives_and_globs_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    upload(bucket, "set/", b"")  # How consoles mark a folder.
    for name, data in FILES.items():
        upload(bucket, f"set/plain/{name}", data)
    upload(bucket, "set/a.zip", write_zip(tmp_path / "a.zip").read_bytes())
    upload(bucket, "set/b.tar", write_tar(tmp_path / "b.tar").read_bytes())
    upload(bucket, "set/c.tar.gz", write_tar(tmp_path / "c.tar.gz").read_bytes())
    expected = {
        f"{part}/{name}": data
        for part in ("plain", "a.zip", "b.tar", "c.tar.gz")
        for name, data in FILES.items()
    }
    files = listed("gs://photos/set")
    assert read(files) == expected
    assert {file.name: sha256_of(file) for file in files} == {
        name: hashlib.sha256(data).hexdigest() for name, data in expected.items()
    }
    assert listed("gs://photos/set/") == listed("gs://photos/set/**") == files
    assert listed("gs://photos/set/*") == files
    assert read(listed("gs://photos/set/a.zip")) == FILES
    assert read(listed("gs://photos/set/c.tar.gz")) == FILES
    matched = names(listed("gs://photos/set/plain/*/*.jpg"))
    assert matched == ["alice/1.jpg", "alice/2.jpg", "böb/ünï 日本.jpg"]
    assert [blob.name for blob in bucket.list_blobs(prefix="spool/")]


def test_a_bucket_and_a_folder_together(bucket: Bucket, tmp_path: Path) -> None:
    upload(bucket, "x/photos/1.jpg", b"1")
    local = tmp_path / "photos"
    local.mkdir()
    (local / "1.jpg").write_bytes(b"2")
    files = listed("gs://photos/x/photos", str(local))
    assert names(files) == [f"{tmp_path.name}/photos/1.jpg", "x/photos/1.jpg"]
    assert sorted(read(files).values()) == [b"1", b"2"]


def test_keys_that_would_be_odd_paths(bucket: Bucket) -> None:
    keys = ["a//b.jpg", "../c.jpg", "d#1.jpg", "e%20f.jpg", "g?.jpg", "[1].jpg", "new\nline.jpg"]
    for key in keys:
        upload(bucket, f"odd/{key}", key.encode())
    files = listed("gs://photos/odd")
    assert names(files) == sorted(
        ["a/b.jpg", "c.jpg", "d#1.jpg", "e%20f.jpg", "g?.jpg", "[1].jpg", "new\\x0aline.jpg"]
    )
    assert sorted(read(files).values()) == sorted(key.encode() for key in keys)
    assert names(listed("gs://photos/odd/[1].jpg")) == ["[1].jpg"]


def test_a_zip_costs_three_requests_and_a_member_one(
    bucket: Bucket, tmp_path: Path, requests: list[str]
) -> None:
    rng = random.Random(0)
    files = {f"{'folder' * 10}/{number:04d}.jpg": rng.randbytes(500) for number in range(2000)}
    data = write_zip(tmp_path / "a.zip", files).read_bytes()
    place = upload(bucket, "requests/a.zip", data)
    requests.clear()
    found = listed(place)
    reads = [request for request in requests if "/download/" in request]
    assert len(reads) == 3
    requests.clear()
    assert read_file(found[7], max_bytes=LIMIT) == files[found[7].name]
    assert len(requests) == 1


def test_errors_are_one_line(bucket: Bucket, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "a.zip").read_bytes()
    place = upload(bucket, "bad/a.zip", data[:-30])
    with pytest.raises(SrganError, match=f"^{place}: damaged archive: its directory"):
        listed(place)
    assert [file.problem and file.problem[0] for file in listed("gs://photos/bad")] == ["corrupt"]
    with pytest.raises(StorageError, match=r"^gs://photos/none: nothing is there"):
        listed("gs://photos/none")
    with pytest.raises(StorageError, match="cannot read: no such bucket or object"):
        storage.read_range("gs://photos/none", 0, 5)


def test_ranges_of_an_object(bucket: Bucket) -> None:
    place = upload(bucket, "ranges", b"0123456789")
    assert storage.read_range(place, 2, 3) == b"234"
    assert storage.read_range(place, 8, 5) == b"89"
    assert storage.read_range(place, 10, 5) == b""
    assert storage.read_range(place, 5, 0) == b""
    assert b"".join(storage.read_pieces(place, 3, 4)) == b"3456"
    assert storage.read_range(upload(bucket, "empty", b""), 0, 5) == b""


@pytest.mark.usefixtures("bucket")
def test_exactly_one_of_many_publishes() -> None:
    """By the server's word (if_generation_match=0), not by a look at what is there."""
    place = "gs://photos/once/manifest.json"
    data = [bytes([number]) * 1000 for number in range(8)]
    with ThreadPoolExecutor(len(data)) as pool:
        won = list(pool.map(partial(storage.publish_once, place), data))
    assert won.count(True) == 1
    assert storage.read_bytes(place) == data[won.index(True)]
    assert not storage.publish_once(place, b"late")
    assert storage.read_bytes(place) == data[won.index(True)]


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("size", [0, 1, 16 << 20, 40_000_001])
def test_a_stream_appears_whole(size: int) -> None:
    data = random.Random(size).randbytes(size)
    place = f"gs://photos/streams/{size}"
    with storage.open_write(place) as stream:
        for start in range(0, size, 1 << 20):
            stream.write(data[start : start + (1 << 20)])
        assert not storage.exists(place)
    assert storage.sha256_of(place) == hashlib.sha256(data).hexdigest()


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("size", [1, 16 << 20, 40_000_001])
def test_a_stream_that_fails_leaves_nothing(size: int) -> None:
    place = f"gs://photos/failed/{size}"

    def write() -> None:
        with storage.open_write(place) as stream:
            stream.write(bytes(size))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    gc.collect()
    time.sleep(0.3)  # gcsfs closes what was forgotten in a thread of its own.
    assert not storage.exists(place)
    storage.write_bytes(place, b"old")
    with pytest.raises(KeyboardInterrupt):
        write()
    gc.collect()
    time.sleep(0.3)
    assert storage.read_bytes(place) == b"old"
