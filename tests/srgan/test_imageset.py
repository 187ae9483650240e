"""Folders, globs and archives as one list of files."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from srgan.errors import DatasetError, SrganError, StorageError
from srgan.images import ImageRejectedError
from srgan.imageset import ImageFile, Span, list_image_set, read_file, sha256_of
from tests.srgan.archive_files import FILES, TARS, names, write_archive, write_tar, write_zip
from tests.support import ROOT

LIMIT = 1 << 20


def write_folder(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def listed(*inputs: Path | str, limit: int = LIMIT) -> list[ImageFile]:
    spool = Path(str(inputs[0])).parent / "spool"
    return list_image_set([str(item) for item in inputs], spool=str(spool), max_bytes=limit)


def read(files: Sequence[ImageFile]) -> dict[str, bytes]:
    return {f.name: read_file(f, max_bytes=LIMIT) for f in files if f.problem is None}


def identities(files: Sequence[ImageFile]) -> list[tuple[str, str, int, str]]:
    return [(file.name, file.inside, file.size, sha256_of(file)) for file in files]


@pytest.mark.parametrize("kind", [".zip", *TARS])
def test_an_archive_is_the_same_set_as_its_folder(tmp_path: Path, kind: str) -> None:
    folder = listed(write_folder(tmp_path / "set"))
    packed = listed(write_archive(tmp_path / f"set{kind}"))
    assert identities(packed) == identities(folder)
    assert read(packed) == read(folder) == FILES
    assert [hashlib.sha256(FILES[file.name]).hexdigest() for file in packed] == [
        sha256_of(file) for file in packed
    ]


def test_every_file_is_listed_with_what_is_known_of_it(tmp_path: Path) -> None:
    root = tmp_path / "set"
    stray = {".DS_Store": b"\0", "Thumbs.db": b"1", "__MACOSX/._1.jpg": b"2", "old.rar": b"3"}
    write_folder(root, {**stray, "large.jpg": bytes(200), "empty.jpg": b""})
    (root / "broken.jpg").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    files = {file.name: file for file in listed(root, limit=100)}
    assert set(files) == {*stray, "large.jpg", "empty.jpg", "broken.jpg", "pipe"}
    assert {name: file.problem for name, file in files.items() if file.problem} == {
        "broken.jpg": ("not_an_image", "a broken link"),
        "pipe": ("not_an_image", "a pipe"),
        "large.jpg": ("too_many_bytes", "200 bytes, the limit is 100"),
        "old.rar": (
            "not_an_image",
            "an archive of a kind that is not opened; unpack it first",
        ),
    }
    assert sha256_of(files["pipe"]) == hashlib.sha256(b"").hexdigest()
    assert sha256_of(files["large.jpg"]) == hashlib.sha256(bytes(200)).hexdigest()


def test_archives_in_a_folder_are_opened(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_folder(root, {"1.jpg": b"1", "fake.zip": b"<html>", "empty.zip": b""})
    write_zip(root / "alice.zip", {"2.jpg": b"2"})
    (root / "deep").mkdir()
    write_tar(root / "deep" / "bob.tar.gz", {"b/3.jpg": b"3"})
    files = listed(root)
    expected = ["1.jpg", "alice.zip/2.jpg", "deep/bob.tar.gz/b/3.jpg", "empty.zip", "fake.zip"]
    assert names(files) == expected
    assert [file.inside for file in files] == expected
    assert list(read(files).values()) == [b"1", b"2", b"3", b"", b"<html>"]


def test_a_damaged_archive_in_a_folder_is_one_file_beside_what_can_be_read(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_folder(root, {"1.jpg": b"1"})
    data = write_tar(root / "a.tar", {"2.jpg": b"2", "3.jpg": b"3" * 5000}).read_bytes()
    (root / "a.tar").write_bytes(data[:4000])
    write_zip(root / "b.zip", {"4.jpg": b"4"})
    (root / "b.zip").write_bytes((root / "b.zip").read_bytes()[:60])
    files = {file.name: file for file in listed(root)}
    assert set(files) == {"1.jpg", "a.tar", "a.tar/2.jpg", "b.zip"}
    detail = "it ends in the middle of 3.jpg, as if cut off"
    assert files["a.tar"].problem == ("corrupt", detail)
    assert sha256_of(files["a.tar"]) == hashlib.sha256(data[:4000]).hexdigest()
    assert read(list(files.values())) == {"1.jpg": b"1", "a.tar/2.jpg": b"2"}
    with pytest.raises(ImageRejectedError, match="corrupt: its directory"):
        read_file(files["b.zip"], max_bytes=LIMIT)


def test_errors_are_one_line_with_the_place_and_the_fix(tmp_path: Path) -> None:
    def line(*inputs: Path | str) -> str:
        with pytest.raises(SrganError) as caught:
            listed(*inputs)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value).replace(f"{tmp_path}/", "")

    data = write_tar(tmp_path / "a.tar", {"2.jpg": b"2", "3.jpg": b"3" * 5000}).read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:4000])
    (tmp_path / "page.zip").write_bytes(b"<html>")
    (tmp_path / "photos.7z").write_bytes(b"7z")
    (tmp_path / "empty").mkdir()
    write_zip(tmp_path / "nothing.zip", {})
    assert line(tmp_path / "nowhere") == "nowhere: no such file or folder; give one with images"
    assert line(tmp_path / "*.png") == "*.png: no file matches; check the pattern"
    assert line(tmp_path / "empty").startswith("empty: no file in there; give a folder")
    assert line(tmp_path / "nothing.zip").startswith("nothing.zip: no file in there; give")
    assert line(tmp_path / "page.zip").startswith("page.zip: no zip or tar file, whatever")
    assert line(tmp_path / "photos.7z").startswith("photos.7z: an archive of this kind is not")
    assert line(tmp_path / "a.tar") == (
        "a.tar: damaged archive: it ends in the middle of 3.jpg, as if cut off; get it again, "
        "or give the folder it lies in to use what can be read: 1 of its files"
    )
    assert line(write_folder(tmp_path / "set"), tmp_path / "gone").startswith("gone: no such")
    with pytest.raises(DatasetError, match="no image set is given"):
        list_image_set([], spool=str(tmp_path), max_bytes=LIMIT)
    with pytest.raises(StorageError, match="scheme 's3' is not supported"):
        listed("s3://bucket/photos")


def test_one_input_has_no_prefix_and_any_kind_will_do(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"a/1.jpg": b"1", "a/2.png": b"2", "b/3.jpg": b"3"})
    assert names(listed(root)) == ["a/1.jpg", "a/2.png", "b/3.jpg"]
    assert names(listed(f"file://{root}/")) == ["a/1.jpg", "a/2.png", "b/3.jpg"]
    assert names(listed(root / "a" / "1.jpg")) == ["1.jpg"]
    assert names(listed(root / "*" / "*.jpg")) == ["a/1.jpg", "b/3.jpg"]
    assert names(listed(root / "*")) == ["a/1.jpg", "a/2.png", "b/3.jpg"]
    assert names(listed(root / "**")) == ["a/1.jpg", "a/2.png", "b/3.jpg"]


def test_several_inputs_are_told_apart_by_the_ends_of_their_places(tmp_path: Path) -> None:
    one = {"1.jpg": b"1"}
    for folder in ("x/photos", "y/photos", "other"):
        write_folder(tmp_path / folder, one)
    write_zip(tmp_path / "x" / "pack.zip", one)
    write_tar(tmp_path / "y" / "pack.tar", one)
    inputs = [tmp_path / name for name in ("x/photos", "y/photos", "other", "x/pack.zip")]
    files = listed(*inputs, tmp_path / "y/pack.tar")
    assert names(files) == [
        "other/1.jpg",
        "pack.tar/1.jpg",
        "pack.zip/1.jpg",
        "x/photos/1.jpg",
        "y/photos/1.jpg",
    ]
    assert {file.inside for file in files} == {"1.jpg"}


def test_inputs_of_one_root_need_no_prefix(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"1.jpg": b"1", "2.png": b"2", "3.gif": b"3"})
    assert names(listed(root / "1.jpg", root / "2.png")) == ["1.jpg", "2.png"]
    assert names(listed(root / "*.jpg", root / "*.png", root / "1.jpg")) == ["1.jpg", "2.png"]
    assert names(listed(root / "*.jpg", root)) == ["1.jpg", "2.png", "3.gif"]


def test_the_order_of_inputs_does_not_matter_nor_does_giving_one_twice(tmp_path: Path) -> None:
    write_folder(tmp_path / "a" / "set")
    write_folder(tmp_path / "b" / "set")
    write_zip(tmp_path / "c.zip")
    inputs = [str(tmp_path / name) for name in ("a/set", "b/set", "c.zip")]
    expected = listed(*inputs)
    for order in itertools.permutations(inputs):
        assert listed(*order) == expected
        assert listed(*order, order[0], f"{order[1]}", f"file://{order[2]}") == expected


def test_an_input_inside_another_counts_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"alice/1.jpg": b"1", "bob/2.jpg": b"2"})
    write_zip(root / "pack.zip", {"3.jpg": b"3"})
    expected = listed(root)
    assert names(expected) == ["alice/1.jpg", "bob/2.jpg", "pack.zip/3.jpg"]
    for more in (root / "alice", root / "pack.zip", root / "bob" / "2.jpg", root / "*"):
        assert listed(root, more) == expected
        assert listed(more, root) == expected


def test_a_folder_under_two_names_counts_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    (tmp_path / "also").symlink_to(root)
    inputs = [tmp_path / "also", root, f"{tmp_path}/other/../set"]
    (tmp_path / "other").mkdir()
    assert len(listed(*inputs)) == len(FILES)
    assert names(listed(*inputs)) == sorted(FILES)


def test_names_are_unique_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    parts = [
        write_tar(tmp_path / "part.tar", files).read_bytes()[:1024]
        for files in (
            {"a.jpg": b"1"},
            {"../a.jpg": b"2"},
            {"a.jpg": b"3"},
            {"a.jpg~2": b"4"},
            {"./a.jpg": b"5"},
        )
    ]
    path.write_bytes(b"".join(reversed(parts)) + bytes(1024))
    files = {file.name: file for file in listed(path)}
    assert read(list(files.values())) == {
        "a.jpg": b"5",
        "a.jpg~2": b"4",
        "a.jpg~3": b"3",
        "a.jpg~4": b"1",
    }
    # The unsafe one has none of the names of the others.
    assert files["a.jpg~5"].problem == ("unsafe_path", "the name in the archive has '..'")
    assert {file.inside for file in files.values()} == {"a.jpg", "a.jpg~2"}


def test_names_on_disk_that_are_no_utf8_or_control_the_terminal(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    raw = [b"latin-\xe9.jpg", b"new\nline.jpg", b"latin-\\udce9.jpg", "ü.jpg".encode()]
    for name in raw:
        Path(os.fsdecode(bytes(root) + b"/" + name)).write_bytes(name)
    files = listed(root)
    assert sorted(names(files)) == sorted(
        ["latin-\\udce9.jpg", "latin-\\udce9.jpg~2", "new\\x0aline.jpg", "ü.jpg"]
    )
    assert sorted(read(files).values()) == sorted(raw)
    copies = [ImageFile.from_row(json.loads(json.dumps(file.to_row()))) for file in files]
    assert copies == files
    assert sorted(read(copies).values()) == sorted(raw)


def test_rows_survive_json_and_are_short(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"1.jpg": b"1", "old.rar": b"2"})
    write_zip(root / "a.zip", {"../2.jpg": b"2", "3.jpg": b"3"})
    files = listed(root, write_folder(tmp_path / "more", {"4.jpg": b"4"}))
    for file in files:
        text = json.dumps(file.to_row())
        assert text.isascii()
        assert ImageFile.from_row(json.loads(text)) == file
    plain = ImageFile("a.jpg", "a.jpg", "/x/a.jpg", 5)
    assert plain.to_row() == ["a.jpg", 0, "/x/a.jpg", 5]
    member = dataclasses.replace(plain, span=Span(1, 2, "deflate", 3, 4), problem=("a", "b"))
    row = ["a.jpg", 0, "/x/a.jpg", 5, [1, 2, "deflate", 3, 4], ["a", "b"]]
    assert member.to_row() == row


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(100))
    (file,) = listed(path)
    with pytest.raises(ImageRejectedError, match="too_many_bytes: 100 bytes, the limit is 99"):
        read_file(file, max_bytes=99)
    path.write_bytes(bytes(1000))  # It has grown since.
    with pytest.raises(ImageRejectedError, match="too_many_bytes: 101 bytes, the limit is 100"):
        read_file(file, max_bytes=100)
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.jpg: cannot read: No such file"):
        read_file(file, max_bytes=100)


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_another_process_reads_a_member_by_its_row(tmp_path: Path, kind: str) -> None:
    files = listed(write_archive(tmp_path / f"a{kind}"))
    script = (
        "import json, sys\n"
        "from srgan.imageset import ImageFile, read_file\n"
        "for row in json.load(sys.stdin):\n"
        "    file = ImageFile.from_row(row)\n"
        "    print(file.name.encode().hex(), read_file(file, max_bytes=99999).hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([file.to_row() for file in files]),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    assert {bytes.fromhex(n).decode(): bytes.fromhex(d) for n, d in rows} == FILES


def test_the_spool_holds_compressed_tars_alone(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    files = listed(write_zip(tmp_path / "a.zip"), write_tar(tmp_path / "b.tar"))
    assert not spool.exists()
    assert {Path(file.place).name for file in files} == {"a.zip", "b.tar"}
    files = listed(write_tar(tmp_path / "c.tar.xz"))
    (blob,) = spool.iterdir()
    assert {file.place for file in files} == {str(blob)}
    assert blob.stat().st_size == sum(map(len, FILES.values()))
