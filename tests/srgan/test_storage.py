from __future__ import annotations

import hashlib
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from srgan import storage
from srgan.errors import StorageError


def names(place: Path | str) -> list[str]:
    return [file.name for file in storage.list_files(str(place))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    for name in ("b.jpg", "a/1.jpg", "a/deep/2.png", ".hidden"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_lists_nested_files_sorted_with_sizes(tree: Path) -> None:
    files = storage.list_files(str(tree))
    assert [file.name for file in files] == [".hidden", "a/1.jpg", "a/deep/2.png", "b.jpg"]
    assert all(Path(file.place).stat().st_size == file.size == len(file.name) for file in files)
    assert names(f"file://{tree}") == names(tree) == names(f"{tree}/")


def test_lists_a_relative_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    files = storage.list_files("set")
    assert all(Path(file.place).is_absolute() for file in files)
    assert names("set/*.jpg") == ["b.jpg"]
    monkeypatch.chdir(tree)
    assert names("*.jpg") == ["b.jpg"]


def test_lists_one_file(tree: Path) -> None:
    assert names(tree / "a" / "1.jpg") == ["1.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg"]),
        ("*/*.jpg", ["a/1.jpg"]),
        ("**/*.png", ["a/deep/2.png"]),
        ("a/*.jpg", ["1.jpg"]),
        ("[ab]*/1.jp?", ["a/1.jpg"]),
    ],
)
def test_globs_name_files_below_the_last_plain_folder(
    tree: Path, pattern: str, expected: list[str]
) -> None:
    assert names(f"{tree}/{pattern}") == expected
    assert names(f"file://{tree}/{pattern}") == expected


def test_a_folder_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "photos [2024]").mkdir()
    (tmp_path / "photos [2024]" / "x.jpg").touch()
    assert names(tmp_path / "photos [2024]") == ["x.jpg"]


def test_links_are_followed_but_not_in_a_circle(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "3.jpg").write_bytes(b"3")
    (tree / "link").symlink_to(other)
    (tree / "a" / "circle").symlink_to(tree)
    (tree / "z-again").symlink_to(other)
    assert names(tree) == [".hidden", "a/1.jpg", "a/deep/2.png", "b.jpg", "link/3.jpg"]


def test_what_cannot_be_read_is_listed_as_empty(tree: Path) -> None:
    (tree / "broken").symlink_to("nowhere")
    (tree / "self").symlink_to("self")
    os.mkfifo(tree / "pipe")
    sizes = {file.name: file.size for file in storage.list_files(str(tree))}
    assert (sizes["broken"], sizes["self"], sizes["pipe"]) == (0, 0, 0)


def test_what_is_no_regular_file_says_what_it_is(tree: Path) -> None:
    (tree / "broken").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    special = {file.name: file.special for file in storage.list_files(str(tree))}
    assert (special["broken"], special["pipe"], special["b.jpg"]) == ("a broken link", "a pipe", "")


def test_a_folder_that_a_glob_names_counts_with_all_in_it(tree: Path) -> None:
    assert names(f"{tree}/*") == names(tree)
    assert names(f"{tree}/**") == names(tree)
    assert names(f"{tree}/a*") == ["a/1.jpg", "a/deep/2.png"]


def test_listing_costs_one_stat_a_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        (tree / "a" / f"{number}.gif").touch()
    calls: list[object] = []
    for function in ("stat", "lstat"):
        real = getattr(os, function)

        def counted(*args: Any, real: Any = real, **options: Any) -> Any:
            calls.append(args)
            return real(*args, **options)

        monkeypatch.setattr(os, function, counted)
    assert len(storage.list_files(str(tree))) == 204
    # Entries of a folder stat themselves, once; these are folders and the root.
    assert len(calls) < 10


def test_errors_name_the_place_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere: no such file or folder; give one with images"):
        storage.list_files(str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="no file matches; check the pattern"):
        storage.list_files(f"{tmp_path}/*.jpg")
    with pytest.raises(StorageError, match=r"scheme 's3' is not supported; use a path or file://"):
        storage.list_files("s3://bucket/x")
    with pytest.raises(StorageError, match="gone: cannot read: No such file or directory"):
        storage.read_bytes(str(tmp_path / "gone"))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot write: .*/file is a file, no folder"):
        storage.write_bytes(str(tmp_path / "file" / "x"), b"")


def test_write_replaces_the_whole_object(tmp_path: Path) -> None:
    place = str(tmp_path / "new" / "folder" / "object")
    storage.write_bytes(place, b"first, and longer")
    storage.write_bytes(place, b"second")
    assert storage.read_bytes(place) == b"second"
    with storage.open_read(place) as stream:
        assert stream.read(3) == b"sec"
    assert storage.sha256_of(place) == hashlib.sha256(b"second").hexdigest()
    assert os.listdir(tmp_path / "new" / "folder") == ["object"]


def test_ranges_and_pieces(tmp_path: Path) -> None:
    place = str(tmp_path / "object")
    data = bytes(range(256)) * 10_000
    storage.write_bytes(place, data)
    assert storage.read_range(place, 5, 3) == b"\5\6\7"
    assert storage.read_range(place, len(data) - 2, 100) == data[-2:]
    assert storage.read_range(place, len(data) + 5, 100) == b""
    assert storage.read_range(place, 5, 0) == b""
    assert storage.read_range(place, 0, len(data)) == data
    pieces = list(storage.read_pieces(place))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(storage.read_pieces(place, 7, 2_000_000)) == data[7:2_000_007]
    with pytest.raises(StorageError, match="gone: cannot read: No such file"):
        storage.read_range(str(tmp_path / "gone"), 0, 1)


@pytest.mark.parametrize("durable", [True, False])
def test_a_stream_appears_whole_or_not_at_all(tmp_path: Path, durable: bool) -> None:
    place = str(tmp_path / "new" / "object")
    with storage.open_write(place, durable=durable) as stream:
        stream.write(b"first ")
        stream.write(b"second")
        assert not os.path.exists(place)
    assert storage.read_bytes(place) == b"first second"

    def fail(error: type[BaseException]) -> None:
        with storage.open_write(place, durable=durable) as stream:
            stream.write(b"half of")
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
    assert storage.read_bytes(place) == b"first second"
    assert os.listdir(tmp_path / "new") == ["object"]


def test_published_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        storage.write_bytes(str(tmp_path / "object"), b"x")
        assert stat.S_IMODE((tmp_path / "object").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_failed_write_leaves_the_old_object_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: cannot write"):
        storage.write_bytes(str(tmp_path / "folder"), b"a folder is in the way")
    assert os.listdir(tmp_path) == ["folder"]


def test_exactly_one_of_many_publishes(tmp_path: Path) -> None:
    place = str(tmp_path / "manifest.json")
    barrier, won = threading.Barrier(8), []

    def publish(number: int) -> None:
        barrier.wait()
        if storage.publish_once(place, bytes([number])):
            won.append(bytes([number]))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read_bytes(place) == won[0]
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_delete(tree: Path) -> None:
    storage.delete(str(tree / "b.jpg"))
    storage.delete(str(tree / "a"))
    storage.delete(str(tree / "never there"))
    assert os.listdir(tree) == [".hidden"]


def test_deleting_a_folder_that_others_fill_and_delete(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    stop = threading.Event()
    errors: list[Exception] = []

    def fill() -> None:
        number = 0
        while not stop.wait(0.0005):
            number += 1
            with suppress(StorageError):  # Its folder goes away under it, as it should.
                storage.write_bytes(str(folder / f"{number % 20}.json"), b"{}")

    def remove() -> None:
        try:
            for _ in range(30):
                storage.delete(str(folder))
        except StorageError as error:
            errors.append(error)

    filler = threading.Thread(target=fill)
    removers = [threading.Thread(target=remove) for _ in range(2)]
    filler.start()
    for thread in removers:
        thread.start()
    for thread in removers:
        thread.join()
    stop.set()
    filler.join()
    assert errors == []
    storage.delete(str(folder))
    assert not folder.exists()


def test_temporaries_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".part-x1y2").write_bytes(b"half")
    (tmp_path / "kept").write_bytes(b"whole")
    storage.delete_temporaries(str(tmp_path))
    storage.delete_temporaries(str(tmp_path / "nowhere"))
    assert os.listdir(tmp_path) == ["kept"]


def test_places() -> None:
    assert storage.join("gs://bucket/a/", "b", "c") == "gs://bucket/a/b/c"
    assert storage.base_name("gs://bucket/a/") == "a"
    assert storage.absolute("gs://bucket/a/") == "gs://bucket/a"
    assert storage.absolute("file:///x/y") == "/x/y"
    assert storage.local_path("gs://bucket/a") is None
