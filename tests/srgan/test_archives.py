"""Zip and tar files of many makers: what is in them, and where."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan import archives
from srgan.archives import Listing, list_archive
from srgan.archives.members import clean_name, displayed
from srgan.listing import StoredFile
from tests.srgan.archive_files import (
    FILES,
    TARS,
    add_files,
    add_special,
    contents,
    listing,
    names,
    problems,
    write_archive,
    write_tar,
    write_zip,
)
from tests.support import program

KINDS = [".zip", *TARS]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_as_they_were_packed(tmp_path: Path, kind: str) -> None:
    found = listing(write_archive(tmp_path / f"set{kind}"))
    assert contents(found) == FILES
    assert found.damage is None
    assert problems(found) == {}


@pytest.mark.parametrize("tar_format", FORMATS)
def test_long_names_of_every_tar_format(tmp_path: Path, tar_format: int) -> None:
    long = "/".join(["folder"] * 20)
    files = {f"{long}/1.jpg": b"1", "short.jpg": b"2"}
    if tar_format != tarfile.USTAR_FORMAT:
        files[f"{'n' * 300}.jpg"] = b"3"
    assert contents(listing(write_tar(tmp_path / "a.tar", files, tar_format))) == files


@pytest.mark.parametrize("options", [["-0"], ["-9"], ["-fz"], ["-X"]])
def test_archives_of_the_zip_program(tmp_path: Path, options: list[str]) -> None:
    folder = _write_folder(tmp_path / "folder")
    command = [program("zip", "zip"), "-qr", *options, str(tmp_path / "a.zip"), "."]
    subprocess.run(command, check=True, cwd=folder)
    assert contents(listing(tmp_path / "a.zip")) == FILES


def test_a_zip_written_to_a_pipe_has_its_sizes_behind_the_data(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path / "folder")
    command = [program("zip", "zip"), "-qr", "-", "."]
    packed = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE).stdout
    (tmp_path / "a.zip").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert any(info.flag_bits & 8 for info in archive.infolist())
    assert contents(listing(tmp_path / "a.zip")) == FILES


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--format=v7"], "a.tar"),
        (["--format=ustar"], "a.tar"),
        (["--format=gnu", "-z"], "a.tgz"),
        (["--format=posix", "-j"], "a.tbz2"),
        (["--format=posix", "-J"], "a.txz"),
        (["--format=posix", "--blocking-factor=1"], "a.tar"),
    ],
)
def test_archives_of_the_tar_program(tmp_path: Path, options: list[str], name: str) -> None:
    folder = _write_folder(tmp_path / "folder")
    command = [program("tar", "tar"), "-c", *options, "-f", str(tmp_path / name), "."]
    subprocess.run(command, check=True, cwd=folder)
    assert contents(listing(tmp_path / name)) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / name).rename(tmp_path / "photos.zip")
    assert contents(listing(tmp_path / "photos.zip")) == FILES


@pytest.mark.parametrize(
    "data", [b"", b"x", b"<html>" * 1000, gzip.compress(b"one photo, no tar" * 100), bytes(5000)]
)
def test_what_is_no_archive_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    file = StoredFile("a.zip", str(tmp_path / "a.zip"), len(data))
    assert list_archive(file, spool=str(tmp_path / "spool"), max_bytes=9) is None
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_archives_of_nothing(tmp_path: Path, kind: str) -> None:
    found = listing(write_archive(tmp_path / f"a{kind}", {}))
    assert (found.members, found.damage) == ([], None)


def test_folders_and_links_are_no_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.mkdir("folder")
        link = zipfile.ZipInfo("link.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert problems(listing(tmp_path / "a.zip")) == {
        "link.jpg": ("not_an_image", "a symbolic link")
    }
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_special(archive, "folder", tarfile.DIRTYPE)
        add_special(archive, "link.jpg", tarfile.SYMTYPE, "/etc/passwd")
        add_special(archive, "pipe", tarfile.FIFOTYPE)
        add_special(archive, "null", tarfile.CHRTYPE)
    found = listing(tmp_path / "a.tar")
    assert {name: problem[1] for name, problem in problems(found).items()} == {
        "link.jpg": "a symbolic link",
        "pipe": "a pipe",
        "null": "a device",
    }


def test_hard_links_are_the_file_before_them(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_special(archive, "early.jpg", tarfile.LNKTYPE, "a/1.jpg")
        add_files(archive, {"./a/1.jpg": b"photo"})
        add_special(archive, "again.jpg", tarfile.LNKTYPE, "a/1.jpg")
    found = listing(tmp_path / "a.tar")
    assert contents(found) == {"a/1.jpg": b"photo", "again.jpg": b"photo"}
    reason, detail = problems(found)["early.jpg"]
    assert (reason, detail[:22]) == ("not_an_image", "a hard link to a/1.jpg")


def test_a_million_hard_links_to_one_file_are_not_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_files(archive, {"1.jpg": bytes(9000)})
        for number in range(100):
            add_special(archive, f"link{number}.jpg", tarfile.LNKTYPE, "1.jpg")
    found = listing(tmp_path / "a.tar")
    read = sum(member.size for member in found.members)
    assert 9000 < read <= 9000 + (tmp_path / "a.tar").stat().st_size
    assert set(problems(found).values()) == {("duplicate", "a hard link to 1.jpg")}
    assert len(found.members) == 101


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=posix"]])
def test_sparse_files_are_refused_and_passed_over(tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (folder / "a.jpg").open("wb") as stream:
        for piece in range(30):  # More holes than fit into one header.
            stream.seek(piece << 20)
            stream.write(b"data")
    (folder / "b.jpg").write_bytes(b"whole")
    command = [
        program("tar", "tar"),
        "-cS",
        *options,
        "-f",
        str(tmp_path / "a.tar"),
        "a.jpg",
        "b.jpg",
    ]
    subprocess.run(command, check=True, cwd=folder)
    found = listing(tmp_path / "a.tar")
    assert contents(found) == {"b.jpg": b"whole"}
    assert found.damage is None
    assert problems(found)["a.jpg"][1].startswith("a sparse file")


def test_tars_put_one_after_the_other_are_read_on(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "1.tar", {"1.jpg": b"1"}).read_bytes()
    second = write_tar(tmp_path / "2.tar", {"2.jpg": b"2"}).read_bytes()
    (tmp_path / "a.tar").write_bytes(first + second)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(first) + gzip.compress(second) + bytes(99))
    for name in ("a.tar", "a.tar.gz"):
        assert contents(listing(tmp_path / name)) == {"1.jpg": b"1", "2.jpg": b"2"}


def test_what_follows_the_end_of_an_archive_is_passed_over(tmp_path: Path) -> None:
    for kind in (".tar", ".tar.gz", ".tar.bz2", ".tar.xz"):
        path = write_tar(tmp_path / f"a{kind}")
        path.write_bytes(path.read_bytes() + b"rubbish" * 1000)
        found = listing(path)
        assert (contents(found), found.damage) == (FILES, None)


def test_zips_behind_a_program_and_before_rubbish(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "a.zip").read_bytes()
    for before, after in ((b"MZ" * 5000, b""), (b"", b"rubbish"), (b"#!/bin/sh\n", b"\r\n")):
        (tmp_path / "a.zip").write_bytes(before + packed + after)
        found = listing(tmp_path / "a.zip")
        assert (contents(found), found.damage) == (FILES, None)


def test_zip_comments_that_look_like_an_end(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_zip(tmp_path / "a.zip"), "a") as archive:
        archive.comment = b"PK\5\6" + bytes(18) + b"PK\5\6 and more"
    found = listing(tmp_path / "a.zip")
    assert (contents(found), found.damage) == (FILES, None)


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Sizes that need it would take minutes to write; zipfile's own limits are lowered instead.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    path = write_zip(tmp_path / "a.zip")
    assert b"PK\6\6" in path.read_bytes()
    found = listing(path)
    assert (contents(found), found.damage) == (FILES, None)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert contents(listing(path)) == FILES


def test_more_members_than_sixteen_bits_count(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{number}.jpg"), b"")
    found = listing(tmp_path / "a.zip")
    assert (len(found.members), found.damage) == (70_000, None)


def test_a_local_header_longer_than_the_directory_tells(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"photo" * 100})
    data = bytearray(path.read_bytes())
    extra = struct.pack("<2H", 0x9999, 500) + bytes(500)
    struct.pack_into("<H", data, 28, len(extra))
    data[30 + 5 : 30 + 5] = extra
    end = data.rindex(b"PK\5\6")
    offset = struct.unpack_from("<L", data, end + 16)[0]
    struct.pack_into("<L", data, end + 16, offset + len(extra))
    path.write_bytes(data)
    assert contents(listing(path)) == {"a.jpg": b"photo" * 100}


def _zip_with_name(
    path: Path, raw: bytes, *, flag: bool = False, system: int = 0, extra: bytes = b""
) -> Listing:
    """A zip with a member whose name is ``raw``, whatever zipfile thinks of it."""
    placeholder = "n" * len(raw)
    info = zipfile.ZipInfo(placeholder)
    info.create_system, info.extra = system, extra
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"photo")
    data = bytearray(path.read_bytes().replace(placeholder.encode(), raw))
    if flag:
        entry = data.index(b"PK\1\2")
        data[7] |= 8
        data[entry + 9] |= 8
    path.write_bytes(data)
    return listing(path)


def test_names_in_zips(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"

    def name(raw: bytes, **options: object) -> str:
        found = _zip_with_name(path, raw, **options)  # type: ignore[arg-type]
        assert list(contents(found).values()) == [b"photo"]
        return found.members[0].name

    utf8 = "ünï-日本.jpg".encode()
    assert name(utf8, flag=True) == "ünï-日本.jpg"
    assert name(b"\x81n\x8b.jpg") == "ünï.jpg"  # Code page 437, as on DOS.
    assert name(utf8, system=3) == "ünï-日本.jpg"  # A Mac does not say that it is UTF-8.
    assert name(b"\x81n\x8b.jpg", system=3) == "ünï.jpg"
    assert name(b"bad\xff\xfe.jpg", flag=True) == "bad\\udcff\\udcfe.jpg"
    field = struct.pack("<BL", 1, zlib.crc32(b"plain-\xff.jpg")) + "wahr-ü.jpg".encode()
    unicode_path = struct.pack("<2H", 0x7075, len(field)) + field
    assert name(b"plain-\xff.jpg", extra=unicode_path) == "wahr-ü.jpg"
    assert name(b"other-\xff.jpg", extra=unicode_path) == "other-\xa0.jpg"  # For another name.


def test_names_in_tars_that_are_no_utf8(tmp_path: Path) -> None:
    with tarfile.open(
        tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        add_files(archive, {"ünï.jpg": b"1"})
    assert contents(listing(tmp_path / "a.tar")) == {"\\udcfcn\\udcef.jpg": b"1"}


@pytest.mark.parametrize(
    ("name", "shown", "fault"),
    [
        ("a/b.jpg", "a/b.jpg", None),
        ("./a//b/./c.jpg", "a/b/c.jpg", None),
        ("a/..b/c...jpg", "a/..b/c...jpg", None),
        ("new\nline\x1b[31m.jpg", "new\\x0aline\\x1b[31m.jpg", None),
        ("/etc/passwd", "etc/passwd", "an absolute path"),
        ("../../etc/passwd", "etc/passwd", "'..'"),
        ("a/../b.jpg", "a/b.jpg", "'..'"),
        ("..", "unnamed", "'..'"),
        ("", "unnamed", "no name at all"),
        ("./.", "unnamed", "no name at all"),
        ("C:\\x.jpg", "C:/x.jpg", "a drive letter"),
        ("c:x.jpg", "c:x.jpg", "a drive letter"),
        ("a\\..\\b.jpg", "a/b.jpg", "a backslash"),
        ("\\\\server\\share", "server/share", "a backslash"),
        ("a.jpg\0.txt", "a.jpg\\x00.txt", "a NUL character"),
        ("n" * 5000, "n" * 4096, "5000 characters"),
    ],
)
def test_clean_names(name: str, shown: str, fault: str | None) -> None:
    assert clean_name(name) == (shown, fault)


@given(st.text())
def test_shown_names_are_harmless(name: str) -> None:
    shown, _ = clean_name(name)
    assert shown.isprintable() or not set(map(ord, shown)) & {*range(32), *range(127, 160)}
    assert shown.encode()
    assert len(shown.splitlines()) == 1
    assert not {"", ".", ".."} & set(shown.split("/"))
    assert clean_name(shown)[0] == shown or "\\" in shown or len(shown) > 4096
    assert displayed(displayed(name)) == displayed(name)


@pytest.mark.parametrize("kind", KINDS)
def test_unsafe_names_are_refused_under_a_harmless_one(tmp_path: Path, kind: str) -> None:
    evil = {"../../evil.jpg": b"1", "/abs.jpg": b"2", "C:\\d.jpg": b"3", "good.jpg": b"4"}
    found = listing(write_archive(tmp_path / f"a{kind}", evil))
    assert contents(found) == {"good.jpg": b"4"}
    assert problems(found) == {
        "evil.jpg": ("unsafe_path", "the name in the archive has '..'"),
        "abs.jpg": ("unsafe_path", "the name in the archive has an absolute path"),
        "C:/d.jpg": ("unsafe_path", "the name in the archive has a drive letter"),
    }
    assert sorted(os.listdir(tmp_path)) in ([f"a{kind}"], [f"a{kind}", "spool"])


def test_encrypted_members(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"secret" * 100)
    command = [program("zip", "zip"), "-q", "-P", "password", "a.zip", "a.jpg"]
    subprocess.run(command, check=True, cwd=tmp_path)
    found = listing(tmp_path / "a.zip")
    assert problems(found) == {"a.jpg": ("encrypted", "needs a password")}


@pytest.mark.parametrize(("method", "word"), [(12, "bzip2"), (14, "LZMA")])
def test_other_packings_are_named(tmp_path: Path, method: int, word: str) -> None:
    found = listing(write_zip(tmp_path / "a.zip", {"a.jpg": b"photo"}, method))
    detail = f"packed by {word}; only stored and deflate are read"
    assert problems(found) == {"a.jpg": ("not_an_image", detail)}


@pytest.mark.parametrize("kind", KINDS)
def test_large_members_are_listed_but_not_unpacked(tmp_path: Path, kind: str) -> None:
    files = {"large.jpg": bytes(100_001), "small.jpg": b"photo"}
    found = listing(write_archive(tmp_path / f"a{kind}", files), max_bytes=100_000)
    assert contents(found) == {"small.jpg": b"photo"}
    assert problems(found) == {"large.jpg": ("too_many_bytes", "100001 bytes, the limit is 100000")}
    blobs = list(tmp_path.glob("spool/*"))
    assert [blob.stat().st_size for blob in blobs] in ([], [32 + 5])


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize("inner", ["b.zip", "deep/b.tar.gz", "B.ZIP", "b.7z", "b.rar"])
def test_archives_in_archives_are_not_opened(tmp_path: Path, kind: str, inner: str) -> None:
    data = write_zip(tmp_path / "inner.zip").read_bytes()
    found = listing(write_archive(tmp_path / f"a{kind}", {inner: data, "a.jpg": b"1"}))
    detail = "an archive inside an archive; unpack it first"
    assert problems(found) == {inner: ("not_an_image", detail)}
    assert contents(found) == {"a.jpg": b"1"}


def test_duplicate_names_are_all_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add_files(archive, {"a.jpg": b"1"})
        add_files(archive, {"a.jpg": b"2"})
    assert names(listing(path).members) == ["a.jpg", "a.jpg"]


def test_only_the_bytes_of_a_member_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number}.jpg": os.urandom(200_000) for number in range(20)}
    found = listing(write_zip(tmp_path / "a.zip", files))
    ranges: list[tuple[int, int]] = []

    def recorded(place: str, offset: int, length: int) -> bytes:
        ranges.append((offset, length))
        return real(place, offset, length)

    real = archives.storage.read_range
    monkeypatch.setattr(archives.storage, "read_range", recorded)
    assert contents(found) == files
    assert len(ranges) == len(files)
    assert all(length < 200_000 + 500 for _, length in ranges)


_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\\", exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=30,
).filter(
    lambda name: (
        clean_name(name) == (name, None)
        and not name.lower().endswith((*archives.EXTENSIONS, *archives.FOREIGN))
    )
)


@settings(max_examples=80, deadline=None)
@given(
    files=st.dictionaries(_NAMES, st.binary(max_size=3000), max_size=6),
    kind=st.sampled_from(KINDS),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    tar_format=st.sampled_from(FORMATS[1:]),
)
def test_members_in_are_bytes_out(
    files: dict[str, bytes], kind: str, method: int, tar_format: int
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / f"a{kind}"
        if kind == ".zip":
            write_zip(path, files, method)
        else:
            write_tar(path, files, tar_format)
        found = listing(path)
        assert (contents(found), found.damage) == (files, None)
    finally:
        shutil.rmtree(folder)


def _write_folder(folder: Path) -> Path:
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_stream_of_many_small_gzip_members(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "a.tar").read_bytes()
    blocks = [plain[start : start + 700] for start in range(0, len(plain), 700)]
    packed = io.BytesIO(b"".join(map(gzip.compress, blocks)))
    (tmp_path / "a.tgz").write_bytes(packed.getvalue())
    found = listing(tmp_path / "a.tgz")
    assert (contents(found), found.damage) == (FILES, None)
