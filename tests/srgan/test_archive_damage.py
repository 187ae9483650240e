"""Damaged and hostile archives: a listed problem or one line, soon, and never wrong bytes."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from srgan.archives import tar_sources, tars, zips
from srgan.errors import SrganError
from srgan.images import ImageRejectedError
from srgan.imageset import ImageFile, list_image_set, read_file, sha256_of
from tests.srgan.archive_files import (
    FILES,
    TARS,
    add_files,
    contents,
    listing,
    names,
    problems,
    write_archive,
    write_tar,
    write_zip,
)

KINDS = [".zip", *TARS]
PACKED = [".tar.gz", ".tar.bz2", ".tar.xz"]
LIMIT = 1 << 20


def read_all(inputs: list[str], spool: Path) -> tuple[list[ImageFile], dict[str, bytes]]:
    """What is listed, and what can be read of it; anything but a rejection is an error."""
    files = list_image_set(inputs, spool=str(spool), max_bytes=LIMIT)
    read = {}
    for file in files:
        assert len(sha256_of(file)) == 64
        try:
            read[file.name] = read_file(file, max_bytes=LIMIT)
        except ImageRejectedError as rejected:
            told = (rejected.reason, rejected.detail)
            assert all(told) and file.problem in (None, told)  # noqa: PT018
    return files, read


def read_named(path: Path, spool: Path) -> tuple[dict[str, bytes], str]:
    """What can be read of an archive that is itself the input, or the error's line."""
    try:
        return read_all([str(path)], spool)[1], ""
    except SrganError as error:
        return {}, str(error)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """What Python allocates within stays below ``limit`` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Flipped bits, cut off, a piece missing, doubled, zeroed or replaced by noise."""
    changed = bytearray(data)
    at, length = rng.randrange(len(data)), rng.choice((1, 4, 30, 512, 2000))
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 1, 5, 50))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        del changed[at : at + length]
    elif kind == 3:
        changed[at:at] = changed[at : at + length]
    elif kind == 4:
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    else:
        changed[at : at + length] = rng.randbytes(length)
    return bytes(changed)


@pytest.mark.parametrize("kind", [*KINDS, ".pax.tar", ".stored.zip"])
def test_mutated_archives(tmp_path: Path, kind: str) -> None:
    rng = random.Random(f"archive {kind}")
    files = {
        **FILES,
        f"{'long' * 40}.jpg": rng.randbytes(3000),
        "ünï/5.jpg": b"text " * 2000,
        "b.jpg": rng.randbytes(20_000),
    }
    original = tmp_path / "original" / f"a{kind}"
    original.parent.mkdir()
    if kind == ".pax.tar":
        write_tar(original, files, tarfile.PAX_FORMAT)
    elif kind == ".stored.zip":
        write_zip(original, files, zipfile.ZIP_STORED)
    else:
        write_archive(original, files)
    folder = tmp_path / "set"
    folder.mkdir()
    path = folder / f"a{kind}"
    checked = kind not in (".tar", ".pax.tar")  # A plain tar has no checksum of its data.
    right, seen = set(files.values()), set()
    for _ in range(300):
        path.write_bytes(mutated(original.read_bytes(), rng))
        start = time.monotonic()
        listed, read = read_all([str(folder)], tmp_path / "spool")
        assert listed, "a file of the set is lost"
        seen.update(file.problem[0] for file in listed if file.problem)
        # A compressed stream that is cut off lacks the checksum behind the cut.
        cut = any(file.problem and "as if cut off" in file.problem[1] for file in listed)
        if checked and not cut and names(listed) != [f"a{kind}"]:
            assert set(read.values()) - {b""} <= right
        named, line = read_named(path, tmp_path / "spool")
        assert line or sorted(named.values()) == sorted(read.values())
        assert (str(path) in line and len(line.splitlines()) == 1) or not line
        assert time.monotonic() - start < 5
    assert "corrupt" in seen


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_a_tar_that_is_cut_off_gives_its_whole_members(tmp_path: Path, kind: str) -> None:
    rng = random.Random(1)
    files = {f"{number}.jpg": rng.randbytes(5000) for number in range(10)}
    data = write_archive(tmp_path / f"a{kind}", files).read_bytes()
    (tmp_path / f"a{kind}").write_bytes(data[: len(data) // 2])
    found = listing(tmp_path / f"a{kind}")
    whole = contents(found)
    assert 3 <= len(whole) <= 5
    assert whole == {name: files[name] for name in whole}
    assert found.damage is not None
    assert found.damage[0] == "corrupt"
    assert "as if cut off" in found.damage[1]


def test_a_tar_cut_off_between_members_says_so(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", {"1.jpg": b"1", "2.jpg": b"2"}).read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:1024])
    found = listing(tmp_path / "a.tar")
    assert contents(found) == {"1.jpg": b"1"}
    assert found.damage == ("corrupt", "it ends without an end mark, as if cut off")
    (tmp_path / "a.tar").write_bytes(data[: 2048 + 512])
    assert listing(tmp_path / "a.tar").damage is None


@pytest.mark.parametrize("kind", PACKED)
def test_a_damaged_stream_gives_no_member(tmp_path: Path, kind: str) -> None:
    rng = random.Random(2)
    files = {f"{number}.jpg": rng.randbytes(300_000) for number in range(10)}
    data = bytearray(write_tar(tmp_path / f"a{kind}", files).read_bytes())
    data[-30 if kind == ".tar.xz" else len(data) * 9 // 10] ^= 1
    (tmp_path / f"a{kind}").write_bytes(data)
    found = listing(tmp_path / f"a{kind}")
    assert found.damage is not None
    assert "stream is damaged" in found.damage[1]
    assert contents(found) == {}
    detail = f"in a damaged archive: {found.damage[1]}"
    assert set(problems(found).values()) == {("corrupt", detail)}


def test_a_wrong_checksum_at_the_end_counts(tmp_path: Path) -> None:
    data = bytearray(write_tar(tmp_path / "a.tar.gz").read_bytes())
    data[-8] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(data)
    found = listing(tmp_path / "a.tar.gz")
    assert found.damage is not None
    assert contents(found) == {}


def test_one_damaged_member_of_a_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"one" * 500, "2.jpg": b"two" * 500})
    data = bytearray(path.read_bytes())
    data[data.index(b"1.jpg") + 10] ^= 0x55
    path.write_bytes(data)
    files, read = read_all([str(path)], tmp_path / "spool")
    assert read == {"2.jpg": b"two" * 500}
    with pytest.raises(ImageRejectedError, match="corrupt: "):
        read_file(files[0], max_bytes=LIMIT)
    again, _ = read_all([str(path)], tmp_path / "spool")
    assert sha256_of(again[0]) == sha256_of(files[0]) != sha256_of(files[1])


def test_a_zip_without_its_end(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-50])
    found = listing(path)
    detail = "its directory, at the end of the file, is missing, as if cut off"
    assert (found.members, found.damage) == ([], ("corrupt", detail))


def test_a_directory_damaged_half_way_gives_the_members_before(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"1", "2.jpg": b"2", "3.jpg": b"3"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2")] = 0
    path.write_bytes(data)
    found = listing(path)
    assert contents(found) == {"1.jpg": b"1", "2.jpg": b"2"}
    assert found.damage == ("corrupt", "its directory has an entry that is none")


def test_a_part_of_a_split_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\5\6") + 4] = 2
    path.write_bytes(data)
    detail = "one part of a split archive; join the parts first"
    assert listing(path).damage == ("corrupt", detail)


def raw_zip(entries: list[tuple[str, int, int, int, int]], body: bytes) -> bytes:
    """A zip of ``body`` and a directory of (name, offset, packed, size, crc), all deflated."""
    directory = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, packed, size, len(name),
            0, 0, 0, 0, 0, offset,
        )
        + name.encode()
        for name, offset, packed, size, crc in entries
    )  # fmt: skip
    count = len(entries) & 0xFFFF
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def local(name: str, packed: bytes, size: int, crc: int) -> bytes:
    header = (b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), size, len(name), 0)
    return struct.pack("<4s5H3L2H", *header) + name.encode() + packed


def deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def test_a_thousand_entries_for_one_member(tmp_path: Path) -> None:
    data = bytes(LIMIT)
    packed, crc = deflated(data), zlib.crc32(data)
    entries = [(f"{n:04d}.jpg", 0, len(packed), len(data), crc) for n in range(1000)]
    (tmp_path / "a.zip").write_bytes(raw_zip(entries, local("0000.jpg", packed, len(data), crc)))
    files, read = read_all([str(tmp_path / "a.zip")], tmp_path / "spool")
    assert read == {"0000.jpg": data}
    problem = ("corrupt", "overlaps another member of the archive")
    assert {file.problem for file in files[1:]} == {problem}
    assert sum(file.size for file in files) == len(data)


def test_members_that_quote_the_headers_of_the_next(tmp_path: Path) -> None:
    """Fifield, "A better zip bomb", WOOT 2019: every member ends in one common kernel."""
    kernel = deflated(bytes(LIMIT))
    body, entries = local("9.jpg", kernel, LIMIT, zlib.crc32(bytes(LIMIT))), []
    for number in range(8, -1, -1):
        packed = struct.pack("<BHH", 0, len(body), len(body) ^ 0xFFFF) + body[:35]
        header = local(f"{number}.jpg", packed, LIMIT, 0)[: 35 + 5]
        body = header + body
    at = 0
    for number in range(10):
        entries.append((f"{number}.jpg", at, len(body) - at - 35, LIMIT, 0))
        at += 40
    (tmp_path / "a.zip").write_bytes(raw_zip(entries, body))
    found = listing(tmp_path / "a.zip")
    assert len(problems(found)) == 9
    assert "9.jpg" not in problems(found)


def test_one_wrong_length_costs_one_member(tmp_path: Path) -> None:
    files = {f"{number}.jpg": b"%d" % number * 50 for number in range(9)}
    path = write_zip(tmp_path / "a.zip", files, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    struct.pack_into("<2L", data, entry + 20, 500, 500)
    path.write_bytes(data)
    found = listing(path)
    assert problems(found) == {"0.jpg": ("corrupt", "overlaps another member of the archive")}
    assert contents(found) == {name: files[name] for name in list(files)[1:]}


def test_members_outside_the_archive(tmp_path: Path) -> None:
    body = local("a.jpg", b"\3\0", 0, 0)
    entries = [("a.jpg", 0, 10**6, 5, 0), ("b.jpg", 10**9, 2, 5, 0), ("c.jpg", 40, 2, 5, 0)]
    (tmp_path / "a.zip").write_bytes(raw_zip(entries, body))
    found = problems(listing(tmp_path / "a.zip"))
    assert set(found.values()) == {("corrupt", "lies outside the archive")}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("said", "detail"),
    [(10, "unpacks to more bytes, the archive says 10"), (200, "unpacks to 100 bytes")],
)
def test_a_member_of_another_size(tmp_path: Path, said: int, detail: str) -> None:
    packed, crc = deflated(bytes(100)), zlib.crc32(bytes(100))
    data = raw_zip([("a.jpg", 0, len(packed), said, crc)], local("a.jpg", packed, said, crc))
    (tmp_path / "a.zip").write_bytes(data)
    files, read = read_all([str(tmp_path / "a.zip")], tmp_path / "spool")
    assert read == {}
    with pytest.raises(ImageRejectedError, match=detail):
        read_file(files[0], max_bytes=LIMIT)


def test_a_member_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(engine.compress(bytes(1 << 20)) for _ in range(256)) + engine.flush()
    sizes = [("honest.jpg", 256 << 20), ("lies.jpg", 1000)]
    body, entries = b"", []
    for name, size in sizes:
        entries.append((name, len(body), len(packed), size, 0))
        body += local(name, packed, size, 0)
    (tmp_path / "a.zip").write_bytes(raw_zip(entries, body))
    with memory_below(16 << 20):
        files, read = read_all([str(tmp_path / "a.zip")], tmp_path / "spool")
    assert read == {}
    assert [file.problem and file.problem[0] for file in files] == ["too_many_bytes", None]


def test_zips_in_zips_in_zips(tmp_path: Path) -> None:
    data = b""
    for depth in range(6):
        path = tmp_path / f"{depth}.zip"
        write_zip(path, {f"{n}.zip": data or bytes(1000) for n in range(16)})
        data = path.read_bytes()
    folder = tmp_path / "set"
    folder.mkdir()
    path.rename(folder / "42.zip")
    files, read = read_all([str(folder)], tmp_path / "spool")
    assert (len(files), read) == (16, {})


@pytest.mark.parametrize("kind", PACKED)
def test_a_stream_that_unpacks_to_a_thousand_times_its_size(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_sources, "_ALWAYS", 4 << 20)
    files = {"a.jpg": b"photo", **{f"{n}.jpg": bytes(900_000) for n in range(64)}}
    path = write_tar(tmp_path / f"a{kind}", files)
    with memory_below(16 << 20):
        found = listing(path)
    most = max(4 << 20, 200 * path.stat().st_size)
    assert found.damage == ("corrupt", "it unpacks to more than 200 times its size")
    assert found.members[0].name == "a.jpg"
    assert sum(blob.stat().st_size for blob in tmp_path.glob("spool/*")) <= most


def test_a_stream_of_zeros_that_begins_like_a_tar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_sources, "_ALWAYS", 4 << 20)
    packed = io.BytesIO()
    with gzip.open(packed, "wb", 9) as stream:
        stream.write(write_tar(tmp_path / "b.tar").read_bytes())
        for _ in range(20):
            stream.write(bytes(1 << 20))
    (tmp_path / "a.tgz").write_bytes(packed.getvalue())
    with memory_below(8 << 20):
        found = listing(tmp_path / "a.tgz")
    assert found.damage == ("corrupt", "it unpacks to more than 200 times its size")
    assert contents(found) == FILES


def test_a_header_that_wants_gigabytes_of_memory(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "b.tar").read_bytes()
    # Only the header may say so: to pack with it would take the memory itself.
    packed = bytearray(lzma.compress(plain, preset=0))
    packed[12 + 4] = 38  # Size of the dictionary: 2 GiB.
    struct.pack_into("<L", packed, 12 + 8, zlib.crc32(packed[12:20]))
    (tmp_path / "a.txz").write_bytes(packed)
    found = listing(tmp_path / "a.txz")
    assert found.damage is not None
    assert "Memory usage limit" in found.damage[1]


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_members_are_one_problem(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "MAX_MEMBERS", 50)
    monkeypatch.setattr(tars, "MAX_MEMBERS", 50)
    folder = tmp_path / "set"
    folder.mkdir()
    path = write_archive(folder / f"a{kind}", {f"{number}.jpg": b"" for number in range(60)})
    files, read = read_all([str(folder)], tmp_path / "spool")
    assert names(files) == [f"a{kind}"]
    assert files[0].problem == ("corrupt", "more than 50 members")
    with pytest.raises(SrganError, match=r"damaged archive: more than 50 members; get it again$"):
        read_all([str(path)], tmp_path / "spool")
    assert read == {}


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_headers_that_want_gigabytes(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 1 << 33
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    found = listing(tmp_path / "a.tar")
    assert found.damage == ("corrupt", "a header of 8589934592 bytes before byte 512")


def test_endless_long_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_MAX_HEADERS", 5000)
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    (tmp_path / "a.tar").write_bytes((info.tobuf() + b"name\0".ljust(512, b"\0")) * 6000)
    found = listing(tmp_path / "a.tar")
    assert found.damage == ("corrupt", "more than 5000 headers")


@pytest.mark.parametrize(
    "records",
    [b"9 path=", b"x path=a\n", b"-5 path=a\n", b"0 path=a\n", b"99999999999999999999 a=b\n",
     b"11 path=ab\0", b"8 noequ\n", b"12 size=1e99\n", b"2"],
)  # fmt: skip
def test_damaged_pax_headers(tmp_path: Path, records: bytes) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(records)
    data = info.tobuf() + records.ljust(512, b"\0")
    follower = tarfile.TarInfo("a.jpg")
    (tmp_path / "a.tar").write_bytes(data + follower.tobuf() + bytes(1024))
    found = listing(tmp_path / "a.tar")
    assert found.damage is not None
    assert "pax header" in found.damage[1]


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"99999999999\0", b"-0000000001\0"]
)
def test_impossible_sizes_in_a_tar(tmp_path: Path, size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(2048))
    found = listing(tmp_path / "a.tar")
    assert found.members == []
    assert found.damage is not None


def test_an_archive_that_changed_since_it_was_listed(tmp_path: Path) -> None:
    for kind in KINDS:
        path = write_archive(tmp_path / f"a{kind}", {"a.jpg": b"photo" * 100})
        (file,) = list_image_set([str(path)], spool=str(tmp_path / "spool"), max_bytes=LIMIT)
        held = Path(file.place)
        held.write_bytes(held.read_bytes()[:20])
        with pytest.raises(ImageRejectedError, match="corrupt: "):
            read_file(file, max_bytes=LIMIT)
        assert len(sha256_of(file)) == 64


def test_a_name_that_is_an_attack_on_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add_files(archive, {"a\r\nerror: all is well\x1b[2J.jpg": b"1"})
    (member,) = listing(path).members
    assert member.name == "a\\x0d\\x0aerror: all is well\\x1b[2J.jpg"
