"""Zip and tar files as attackers, old tools and broken downloads make them. Functions of a seed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.beam_jobs.archive_writers import Entry, tar_of, zip_of
from tests.beam_jobs.hostile_damage import damaged_picture, noise
from tests.beam_jobs.hostile_pictures import Picture, valid_picture

_UNSAFE = (
    b"../%s",
    b"../../../../../../etc/%s",
    b"/etc/%s",
    b"a/../../%s",
    b"..\\..\\%s",
    b"C:\\Windows\\%s",
    b"C:%s",
    b"\\\\server\\share\\%s",
)
_ODD = (
    b"./%s",
    b"a//%s",
    b"a/./%s",
    "Ünal/写真 %s".encode(),
    b"new\nline-%s",
    b"-rf %s",
    b"\x1b[2J%s",
)


@dataclass(frozen=True)
class Archive:
    """``usable``: bytes of members that must become records; ``known``: of all that count.

    ``sources``: the least and the most files that it may count as.
    """

    data: bytes
    suffix: str
    what: str
    usable: tuple[Picture, ...]
    known: tuple[bytes, ...]
    sources: tuple[int, int]


def hostile_archive(rng: random.Random) -> Archive:
    """An archive of a kind that the seed chooses."""
    what = rng.choice(list(_KINDS))
    archive = _KINDS[what](rng)
    return replace(archive, what=what) if not archive.what else archive


def _pictures(rng: random.Random, least: int = 1, most: int = 4) -> list[Picture]:
    return [valid_picture(rng) for _ in range(rng.randint(least, most))]


def _names(rng: random.Random, pictures: Sequence[Picture]) -> list[bytes]:
    return [
        f"m{rng.randrange(9)}/{number}{picture.suffix}".encode()
        for number, picture in enumerate(pictures)
    ]


def _whole(
    data: bytes, suffix: str, usable: Sequence[Picture], more: Sequence[bytes] = ()
) -> Archive:
    known = (*(picture.data for picture in usable), *more)
    return Archive(data, suffix, "", tuple(usable), known, (len(known), len(known)))


def _good_zip(rng: random.Random) -> Archive:
    pictures = _pictures(rng)
    entries = [Entry(b"folder/", b"", 0)]
    entries += [
        Entry(name, picture.data, rng.choice((0, 8)))
        for name, picture in zip(_names(rng, pictures), pictures, strict=True)
    ]
    before = rng.choice((b"", b"", b"#!/bin/sh\necho a stub\n" * 20))
    comment = rng.choice((b"", b"a comment", b"PK\5\6" * 9))
    return _whole(zip_of(entries, before=before, comment=comment), ".zip", pictures)


def _good_tar(rng: random.Random) -> Archive:
    pictures = _pictures(rng)
    names = [rng.choice((b"", b"d" * 120 + b"/", b"./")) + n for n in _names(rng, pictures)]
    form = rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    members = [(b"folder/", tarfile.DIRTYPE, b"")]
    members += [(n, tarfile.REGTYPE, p.data) for n, p in zip(names, pictures, strict=True)]
    suffix, data = _packed(rng, tar_of(members, form))
    return _whole(data, suffix, pictures)


def _packed(rng: random.Random, data: bytes) -> tuple[str, bytes]:
    suffix = rng.choice((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))
    if suffix in (".tar.gz", ".tgz"):
        return suffix, gzip.compress(data, 1, mtime=0)
    if suffix == ".tar.bz2":
        return suffix, bz2.compress(data, 1)
    return suffix, lzma.compress(data, preset=0) if suffix == ".tar.xz" else data


def _mixed(rng: random.Random) -> Archive:
    """Good pictures beside damaged ones."""
    good = _pictures(rng, 1, 2)
    bad = [damaged_picture(rng) for _ in range(3)] + [noise(rng)]
    pictures = [*good, *bad]
    names = _names(rng, pictures)
    if rng.random() < 0.5:
        data = zip_of([Entry(n, p.data) for n, p in zip(names, pictures, strict=True)])
        return _whole(data, ".zip", good, [p.data for p in bad])
    members = [(n, tarfile.REGTYPE, p.data) for n, p in zip(names, pictures, strict=True)]
    suffix, data = _packed(rng, tar_of(members))
    return _whole(data, suffix, good, [p.data for p in bad])


def _unsafe_names(rng: random.Random) -> Archive:
    """Members that would be written outside, were they unpacked; the others count."""
    good, bad = _pictures(rng, 1, 2), _pictures(rng, 2, 3)
    names = [rng.choice(_ODD) % name for name in (b"%d.png" % n for n in range(len(good)))]
    unsafe = [rng.choice(_UNSAFE) % name for name in (b"u%d.png" % n for n in range(len(bad)))]
    rows = [*zip(names, good, strict=True), *zip(unsafe, bad, strict=True)]
    total = (len(rows), len(rows))
    known = tuple(picture.data for picture in good)
    if rng.random() < 0.5:
        data = zip_of([Entry(name, p.data, 0, flags=0x800) for name, p in rows])
        return Archive(data, ".zip", "", tuple(good), known, total)
    suffix, data = _packed(rng, tar_of([(name, tarfile.REGTYPE, p.data) for name, p in rows]))
    return Archive(data, suffix, "", tuple(good), known, total)


def _same_names(rng: random.Random) -> Archive:
    """Several members of one name; all count."""
    pictures = _pictures(rng, 2, 4)
    if rng.random() < 0.5:
        return _whole(zip_of([Entry(b"same.png", p.data) for p in pictures]), ".zip", pictures)
    data = tar_of([(b"same.png", tarfile.REGTYPE, p.data) for p in pictures])
    return _whole(data, ".tar", pictures)


def _tar_links(rng: random.Random) -> Archive:
    """Links, devices and pipes: each one counts, none is followed out of the archive."""
    (picture,) = _pictures(rng, 1, 1)
    members = [
        (b"a.png", tarfile.REGTYPE, picture.data),
        (b"soft.png", tarfile.SYMTYPE, b"a.png"),
        (b"out.png", tarfile.SYMTYPE, b"../../../etc/passwd"),
        (b"round.png", tarfile.SYMTYPE, b"round.png"),
        (b"hard-out.png", tarfile.LNKTYPE, b"/etc/passwd"),
        (b"early.png", tarfile.LNKTYPE, b"later.png"),
        (b"null.png", tarfile.CHRTYPE, b""),
        (b"disk.png", tarfile.BLKTYPE, b""),
        (b"pipe.png", tarfile.FIFOTYPE, b""),
    ]
    suffix, data = _packed(rng, tar_of(members, tarfile.GNU_FORMAT))
    return Archive(data, suffix, "", (picture,), (picture.data,), (9, 9))


def _hard_links(rng: random.Random) -> Archive:
    """Hard links are the same file again."""
    (picture,) = _pictures(rng, 1, 1)
    members = [(b"a.png", tarfile.REGTYPE, picture.data)]
    members += [(b"b%d.png" % n, tarfile.LNKTYPE, b"a.png") for n in range(5)]
    suffix, data = _packed(rng, tar_of(members))
    return Archive(data, suffix, "", (picture,), (picture.data,), (6, 6))


def _zip_lies(rng: random.Random) -> Archive:
    """One good member beside others about which the directory lies."""
    good, other = valid_picture(rng), valid_picture(rng).data
    lie = rng.choice(
        (
            {"size": 10},
            {"size": len(other) * 3},
            {"size": 0xFFFFFFFF},
            {"packed": 3},
            {"packed": 0xFFFFFFF0},
            {"crc": 1},
            {"offset": 0x7FFFFFFF},
            {"offset": 5},
            {"method": 12},
            {"method": 99},
            {"flags": 1},
            {"flags": 0x40},
            {"mode": 0o120777},
            {"mode": 0o020666},
            {"mode": 0o010666},
        )
    )
    liar = replace(Entry(b"liar.png", other), **lie)  # type: ignore[arg-type]
    data = zip_of([Entry(b"good" + good.suffix.encode(), good.data, 0), liar])
    what = f"zip whose member has {lie}"
    if lie == {"offset": 5}:  # Of two that overlap one must give way, and nobody knows which lies.
        return Archive(data, ".zip", what, (), (), (2, 2))
    return Archive(data, ".zip", what, (good,), (good.data,), (2, 2))


def _overlapping(_: random.Random) -> Archive:
    """Many members made of the same bytes: 42.zip's better successor."""
    kernel = Entry(b"kernel.png", bytes(500_000))
    entries = [kernel, *(replace(kernel, name=b"%04d.png" % n, offset=0) for n in range(1, 40))]
    whole = zip_of(entries)
    local = struct.Struct("<4s5H3L2H")
    first = local.size + len(kernel.name) + local.unpack_from(whole)[7]
    directory = whole.find(b"PK\1\2")
    shrunk = whole[:first] + whole[directory:]
    shrunk = shrunk[:-6] + struct.pack("<LH", first, 0)
    return Archive(shrunk, ".zip", "", (), (), (len(entries), len(entries)))


def _bombs(rng: random.Random) -> Archive:
    """Little that unpacks to much."""
    kind = rng.randrange(6)
    zeros = bytes(24 << 20)
    if kind == 0:
        return Archive(zip_of([Entry(b"zeros.png", zeros)]), ".zip", "", (), (), (1, 1))
    if kind == 1:
        data = zip_of([Entry(b"zeros.png", zeros, size=1000)])
        return Archive(data, ".zip", "", (), (), (1, 1))
    if kind == 2:
        inner = zip_of([Entry(b"zeros.png", zeros)])
        data = zip_of([Entry(b"inner%d.zip" % n, inner) for n in range(9)])
        return Archive(data, ".zip", "", (), (), (9, 9))
    if kind == 3:
        data = gzip.compress(tar_of([(b"zeros.png", tarfile.REGTYPE, zeros)]), 9, mtime=0)
        return Archive(data, ".tar.gz", "", (), (), (1, 2))
    if kind == 4:
        data = gzip.compress(b"", mtime=0) * 20_000
        return Archive(data, ".tar.gz", "", (), (), (0, 1))
    return Archive(gzip.compress(zeros, 9, mtime=0), ".tgz", "", (), (), (0, 1))


def _tar_sizes(rng: random.Random) -> Archive:
    """Sizes in headers that are negative, huge or no numbers, with right checksums."""
    first, second = valid_picture(rng), valid_picture(rng)
    rows = [(b"a.png", tarfile.REGTYPE, first.data), (b"b.png", tarfile.REGTYPE, second.data)]
    data = bytearray(tar_of(rows, tarfile.GNU_FORMAT))
    header = 512 + len(first.data) + -len(first.data) % 512
    data[header + 124 : header + 136] = rng.choice(
        (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"not octal\0\0\0", b"\0" * 12)
    )
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])
    suffix, packed = _packed(rng, bytes(data))
    return Archive(packed, suffix, "", (first,), (first.data,), (2, 3))


def _broken(rng: random.Random) -> Archive:
    """A good archive, then cut off or damaged anywhere: what is left counts, and the damage."""
    good = rng.choice((_good_zip, _good_tar, _mixed))(rng)
    data = bytearray(good.data)
    if rng.random() < 0.4:
        data = data[: rng.randrange(1, len(data))]
    else:
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    # Of each member, and of the archive itself.
    return Archive(bytes(data), good.suffix, "", (), (), (1, good.sources[1] + 1))


def _not_one(rng: random.Random) -> Archive:
    """No archive at all, whatever its name says."""
    picture = valid_picture(rng).data
    suffix = rng.choice((".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".7z", ".rar"))
    data = rng.choice(
        (
            b"",
            picture,
            gzip.compress(picture, mtime=0),
            b"PK\3\4",
            b"PK\5\6" + bytes(18),
            bytes(1024),
        )
    )
    return Archive(data, suffix, "", (), (), (0, 1))


_KINDS: dict[str, Callable[[random.Random], Archive]] = {
    "zip": _good_zip,
    "tar": _good_tar,
    "archive of good and bad": _mixed,
    "archive with unsafe names": _unsafe_names,
    "archive with one name twice": _same_names,
    "tar of links and devices": _tar_links,
    "tar of hard links": _hard_links,
    "zip that lies": _zip_lies,
    "zip whose members overlap": _overlapping,
    "archive bomb": _bombs,
    "tar with false sizes": _tar_sizes,
    "broken archive": _broken,
    "broken archive ": _broken,
    "no archive": _not_one,
}
