"""Hostile image sets through the real builder: no crash, no hang, and every source accounted for.

A short run belongs to the fast tests. The long one is asked for by the number of sources:

    SRGAN_FUZZ=10000 pytest tests/beam_jobs/test_fuzz.py -k long

Its image sets are those of the seeds ``SRGAN_FUZZ_SEED`` (1) and following, 500 items each, every
one built by a process of its own. A failure names seed and setting, with which it comes back.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from beam_jobs.build_pairs import build
from srgan import images
from srgan.dataset_config import DatasetConfig
from srgan.datasets.verify import verify
from srgan.records import (
    Dataset,
    open_dataset,
    read_record_infos,
    read_records,
    read_rejects,
)
from tests.beam_jobs.hostile_pictures import Picture
from tests.beam_jobs.image_sets import hashes
from tests.beam_jobs.mutations import Item, hostile_set, write_items
from tests.support import ROOT

CENTER = DatasetConfig(
    name="fuzz",
    hr_size=16,
    shard_bytes=60_000,
    max_bytes=2**20,
    max_pixels=1_000_000,
    near_duplicate_bits=-1,
    min_sharpness=0,
)
SETTINGS = {
    "center": CENTER,
    "tiles": CENTER.model_copy(update={"crop": "tiles", "tile_stride": 20}),
    "whole": CENTER.model_copy(update={"crop": "none", "group": "none", "scale": 2}),
    "strict": CENTER.model_copy(
        update={"alpha": "reject", "grey": "reject", "animated": "reject", "crop_size": 24}
    ),
    "realistic": CENTER.model_copy(update={"degradation": "realistic", "alpha": "#102030"}),
    "tone": CENTER.model_copy(update={"degradation": "tone", "near_duplicate_bits": 12}),
}
REASONS = {
    *("not_an_image", "corrupt", "too_many_pixels", "too_many_bytes", "aspect", "too_small"),
    *("alpha", "grey", "animated", "encrypted", "unsafe_path", "blurred", "flat", "no_face"),
    *("small_face", "unpaired", "pair_mismatch", "duplicate", "near_duplicate", "excluded"),
}
# Far above what an image within the limits needs, far below what a bomb would take.
MOST_MEMORY = 700 * 2**20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("setting", SETTINGS)
def test_short_run(setting: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    number = list(SETTINGS).index(setting)
    items = hostile_set(seed=9000 + number, count=300 if setting == "center" else 100)
    if setting == "center":  # Only what counts as so many sources and no other number.
        items = [item for item in items if item.sources[0] == item.sources[1]]
    write_items(items, tmp_path / "set")
    result = build(str(tmp_path / "set"), str(tmp_path / "out"), SETTINGS[setting])
    check_dataset(result.dataset, items)
    # Decoders in C write where they like.
    assert capfd.readouterr() == ("", "")


def test_hostile_pairs(tmp_path: Path) -> None:
    """LR files that come with the HR files, the one or the other or both damaged."""
    files = [item for item in hostile_set(7, 160) if item.kind == "file" and item.sources == (1, 1)]
    half = len(files) // 2
    for high, low in zip(files[:half], files[half : 2 * half], strict=True):
        for side, item in (("HR", high), ("LR", low)):
            path = tmp_path / "set" / side / f"{files.index(high)}{Path(item.what).suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.data)
    good = [Picture(images.encode_png(p), ".png", "pair") for p in _pair()]
    for side, picture in zip(("HR", "LR"), good, strict=True):
        (tmp_path / "set" / side / "good.png").write_bytes(picture.data)
    config = CENTER.model_copy(update={"degradation": "paired", "group": "none"})
    dataset = build(str(tmp_path / "set"), str(tmp_path / "out"), config).dataset
    known = [item.data for item in files[: 2 * half]] + [picture.data for picture in good]
    check_dataset(
        dataset,
        [Item(b"", "pairs", usable=(good[0],), known=tuple(known), sources=(2 * half + 2,) * 2)],
    )


@pytest.mark.skipif("SRGAN_FUZZ" not in os.environ, reason="SRGAN_FUZZ=<sources> asks for it")
@pytest.mark.timeout(24 * 3600)
def test_long_run(tmp_path: Path) -> None:
    first = int(os.environ.get("SRGAN_FUZZ_SEED", "1"))
    left, seed = int(os.environ["SRGAN_FUZZ"]), first
    failures = []
    while left > 0:
        setting = list(SETTINGS)[seed % len(SETTINGS)]
        try:
            left -= run_and_check(seed, setting, 500, tmp_path / str(seed))
        except AssertionError as error:
            failures.append(f"seed {seed}, {setting}: {error}")
            left -= 500
        seed += 1
    assert not failures, "\n\n".join(failures)


def run_and_check(seed: int, setting: str, count: int, folder: Path) -> int:
    """Build a hostile set in a process of its own; the number of its sources."""
    items = hostile_set(seed, count)
    write_items(items, folder / "set")
    done = build_apart(folder, SETTINGS[setting], workers=1 + seed % 2)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    check_dataset(open_dataset(answer["place"]), items)
    assert answer["peak"] < MOST_MEMORY
    return open_dataset(answer["place"]).manifest.inputs


def build_apart(
    folder: Path, config: DatasetConfig, workers: int = 1
) -> subprocess.CompletedProcess[str]:
    """Build ``folder/set`` into ``folder/out``, as no longer than five minutes allow."""
    arguments = {
        "image_set": str(folder / "set"),
        "root": str(folder / "out"),
        "config": config.model_dump(mode="json"),
        "workers": workers,
    }
    return subprocess.run(
        [sys.executable, "-m", "tests.beam_jobs.build_once", json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def check_dataset(dataset: Dataset, items: Sequence[Item]) -> None:
    """The dataset is whole, and its accounts are those that the items ask for."""
    _check_files(dataset)
    config = dataset.manifest.config
    infos, rejects = list(read_record_infos(dataset)), list(read_rejects(dataset))
    used = {info.source: info.sha256 for info in infos}
    whole = [reject for reject in rejects if reject.crop is None]
    refused = {reject.source: reject for reject in whole}
    assert len(refused) == len(whole), "a source is rejected twice"
    assert not used.keys() & refused.keys() or config.degradation == "paired"
    for reject in rejects:
        assert reject.reason in REASONS, reject
        assert reject.detail.strip(), reject
        assert reject.detail.splitlines() == [reject.detail], reject
        assert reject.crop is None or reject.source in used, reject
    least, most = (sum(item.sources[i] for item in items) for i in (0, 1))
    manifest = dataset.manifest
    assert least <= manifest.inputs <= most, _differing(items, [*used, *refused])
    assert manifest.inputs == manifest.used_sources + manifest.rejected_sources
    assert manifest.rejected_sources == len(whole)
    lrs = manifest.used_sources - len(used)
    assert lrs == (len(used) if config.degradation == "paired" else 0)
    found = Counter([*used.values(), *(reject.sha256 for reject in whole)])
    expected = Counter(_sha256(data) for item in items for data in item.known)
    if config.degradation != "paired":  # The LR file of a record is not in it.
        lost = expected - found
        assert not lost, [item for item in items if lost.keys() & set(map(_sha256, item.known))]
    _check_usable(items, config, set(used.values()), {r.sha256: r for r in whole})


def _check_usable(
    items: Sequence[Item], config: DatasetConfig, used: set[str], refused: dict[str, object]
) -> None:
    strict = {t for t in ("alpha", "grey", "animated") if getattr(config, t) == "reject"}
    for item in items:
        for picture in item.usable:
            key, traits = _sha256(picture.data), picture.traits & strict
            verdict = refused.get(key)
            reason = getattr(verdict, "reason", None)
            about = f"{item.path!r} ({item.what}, {picture.what}): {verdict}"
            if traits:
                assert key not in used, about
                assert reason in {*traits, "duplicate"}, about
            elif config.near_duplicate_bits < 0:
                assert key in used, about
            else:
                assert key in used or reason in ("duplicate", "near_duplicate"), about


def _check_files(dataset: Dataset) -> None:
    manifest, place = dataset.manifest, Path(dataset.place)
    listed = {shard.name for shard in manifest.shards} | manifest.files.keys() | {"manifest.json"}
    assert hashes(place.parent).keys() == {f"{place.name}/{name}" for name in listed}
    assert {path.name for path in place.parent.iterdir()} == {place.name}
    assert verify(dataset).problems == ()
    infos = read_record_infos(dataset)
    config = manifest.config
    for shard in manifest.shards:
        with (place / shard.name).open("rb") as stream:
            for record in read_records(stream):
                info = next(infos)
                assert (info.key, info.source, info.shard) == (
                    record.key,
                    record.source,
                    shard.name,
                )
                hr, lr = (images.decode(d, max_pixels=10**6) for d in (record.hr, record.lr))
                assert [s * config.scale for s in lr.shape[:2]] == list(hr.shape[:2])
                assert min(hr.shape[:2]) >= config.hr_size
                assert config.crop == "none" or hr.shape[:2] == (config.hr_size,) * 2
    assert next(infos, None) is None


def _differing(items: Sequence[Item], names: Sequence[str]) -> str:
    """Which items count as more or fewer sources than they may."""
    lines = []
    for item in items:
        path = item.path.decode("utf-8", "backslashreplace")
        count = sum(name == path or name.startswith(f"{path}/") for name in names)
        if not item.sources[0] <= count <= item.sources[1]:
            lines.append(f"{item.path!r} ({item.what}): {count}, not {item.sources}")
    return f"{len(names)} sources; " + "; ".join(lines)


def _pair() -> tuple[images.Pixels, images.Pixels]:
    from tests.beam_jobs.image_sets import picture

    hr = picture(1, 64, 64)
    return hr, images.resize(hr, 16, 16)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
