from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan.errors import ConfigError, StorageError
from srgan.export import ExportedModel, export_model, load_exported
from srgan.images import to_unit
from srgan.upscale import UpscaleOptions, UpscaleProgress, UpscaleSummary, plan, upscale
from tests.srgan.pairs import scene
from tests.srgan.tiny import tiny_generator
from tests.support import shared_data

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    export_model(tiny_generator(2), folder)
    return load_exported(folder, unverified=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as people have them."""
    folder = tmp_path / "photos"
    (folder / "Familie Müller").mkdir(parents=True)
    photo = Image.fromarray(scene(1, 30))
    photo.save(folder / "a.png")
    photo.save(folder / "Familie Müller" / "日本 (1).JPG", "JPEG")
    photo.save(folder / "old.gif")
    (folder / "broken.jpg").write_bytes((folder / "a.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def one(tmp_path: Path, model: ExportedModel, name: str, image: Image.Image, **save) -> Image.Image:  # type: ignore[no-untyped-def]
    """The enlarged file of an image."""
    image.save(tmp_path / name, **save)
    summary = upscale(str(tmp_path / name), f"{tmp_path / 'out'}/", model)
    assert summary.failures == []
    return Image.open(tmp_path / "out" / name)


def test_a_photo_has_the_models_pixels(tmp_path: Path, model: ExportedModel) -> None:
    pixels = scene(2, 40)[:33]
    result = one(tmp_path, model, "photo.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(np.asarray(result), model(pixels[None])[0])
    assert result.mode == "RGB"


def test_a_folder_keeps_its_names_and_reports_what_it_cannot_use(
    photos: Path, tmp_path: Path, model: ExportedModel
) -> None:
    out = tmp_path / "out"
    summary = upscale(str(photos), str(out), model)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {"a.png", "Familie Müller/日本 (1).JPG", "old.png"}
    assert (summary.done, summary.skipped) == (3, 0)
    assert {(f.name, f.reason) for f in summary.failures} == {
        ("broken.jpg", "corrupt"),
        ("notes.txt", "not_an_image"),
    }
    assert all(failure.detail for failure in summary.failures)
    assert summary.exit_code == 1
    for name in names:
        assert Image.open(out / name).size == (60, 60)


def test_a_finished_folder_is_not_done_again(
    photos: Path, tmp_path: Path, model: ExportedModel
) -> None:
    for name in ("broken.jpg", "notes.txt"):
        (photos / name).unlink()
    first = upscale(str(photos), str(tmp_path / "out"), model)
    (tmp_path / "out" / "a.png").unlink()
    again = upscale(str(photos), str(tmp_path / "out"), model, UpscaleOptions(skip_existing=True))
    assert (first.done, again.done, again.skipped) == (3, 1, 2)
    assert first.exit_code == again.exit_code == 0


def test_results_inside_the_folder_are_not_taken_for_photos(
    photos: Path, model: ExportedModel
) -> None:
    out = str(photos / "large")
    first = upscale(str(photos), out, model)
    again = upscale(str(photos), out, model)
    assert first.done == again.done == 3
    assert not (photos / "large" / "large").exists()


def test_nothing_that_is_read_is_overwritten(
    photos: Path, tmp_path: Path, model: ExportedModel
) -> None:
    before = (photos / "a.png").read_bytes()
    with pytest.raises(ConfigError, match="would overwrite its own photos"):
        upscale(str(photos), str(photos), model)
    summary = upscale(str(photos / "a.png"), str(photos / "a.png"), model)
    assert "would overwrite a photo that is read" in summary.failures[0].detail
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    summary = upscale(str(photos / "a.png"), str(tmp_path / "link.png"), model)
    assert summary.exit_code == 1
    assert (photos / "a.png").read_bytes() == before


def test_two_photos_do_not_become_one_file(tmp_path: Path, model: ExportedModel) -> None:
    (tmp_path / "in").mkdir()
    for name in ("face.bmp", "face.png"):
        Image.fromarray(scene(1, 16)).save(tmp_path / "in" / name)
    options = UpscaleOptions(suffix="webp")
    summary = upscale(str(tmp_path / "in"), str(tmp_path / "out"), model, options)
    assert summary.done == 1
    assert "face.bmp is written there already" in summary.failures[0].detail
    assert Image.open(tmp_path / "out" / "face.webp").format == "WEBP"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(
    tmp_path: Path, model: ExportedModel, orientation: int
) -> None:
    pixels = np.repeat(scene(3, 32)[:20] // 2, 1, axis=0)
    pixels[:6, :6] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Camera"
    exif.get_ifd(0x8769)[0xA002] = 32
    upright = np.asarray(one(tmp_path, model, "plain.png", Image.fromarray(pixels)))
    result = one(tmp_path, model, "turned.png", Image.fromarray(pixels), exif=exif)
    turn = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        8: lambda x: np.rot90(x, 1),
    }[orientation]
    # The network is not symmetric, so the corner and the size are compared, not every pixel.
    assert np.asarray(result).shape == turn(upright).shape
    red = turn(upright[..., 0].astype(int)[..., None] - upright[..., 1:2])[..., 0] > 150
    found = np.asarray(result).astype(int)
    assert (found[..., 0] - found[..., 1])[red].mean() > 150
    assert result.getexif().get(0x0112, 1) == 1
    assert result.getexif()[0x010F] == "Camera"
    assert result.getexif().get_ifd(0x8769)[0xA002] == result.size[0]


def test_transparency_stays(tmp_path: Path, model: ExportedModel) -> None:
    alpha = np.zeros((24, 24), np.uint8)
    alpha[6:18, 6:18] = 255
    image = Image.fromarray(np.dstack([scene(4, 24), alpha]))
    result = one(tmp_path, model, "cut-out.png", image)
    assert result.mode == "RGBA"
    got = np.asarray(result)[..., 3]
    assert got[:10].max() == 0
    assert got[14:34, 14:34].min() == 255
    assert set(np.unique(got[:, 24])) - {0, 255}, "the edge is smooth"


def test_transparency_goes_on_white_where_the_format_has_none(
    tmp_path: Path, model: ExportedModel
) -> None:
    image = Image.fromarray(np.dstack([scene(4, 24), np.zeros((24, 24), np.uint8)]))
    image.save(tmp_path / "ghost.png")
    assert upscale(str(tmp_path / "ghost.png"), str(tmp_path / "ghost.jpg"), model).done == 1
    assert np.asarray(Image.open(tmp_path / "ghost.jpg")).min() == 255


@pytest.mark.parametrize(("mode", "expected"), [("L", "L"), ("LA", "LA"), ("1", "L")])
def test_grey_stays_grey(tmp_path: Path, model: ExportedModel, mode: str, expected: str) -> None:
    grey = Image.fromarray(scene(5, 24)).convert("L").convert(mode)
    result = one(tmp_path, model, "grey.png", grey)
    assert result.mode == expected
    three = np.repeat(np.asarray(grey.convert("L"))[..., None], 3, -1)
    mean = model.unit(to_unit(three)[None])[0].mean(-1)
    got = np.asarray(result.convert("L"))
    assert np.abs(got - 255 * mean).max() <= 0.51


def test_16_bit_grey_is_not_burnt_out(tmp_path: Path, model: ExportedModel) -> None:
    deep = (np.asarray(Image.fromarray(scene(5, 24)).convert("L")).astype(np.uint16)) * 257
    result = np.asarray(one(tmp_path, model, "deep.png", Image.fromarray(deep)).convert("L"))
    assert abs(result.mean() - deep.mean() / 257) < 12


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.tif"])
def test_the_colour_profile_stays(tmp_path: Path, model: ExportedModel, name: str) -> None:
    result = one(tmp_path, model, name, Image.fromarray(scene(1, 20)), icc_profile=SRGB)
    assert result.info["icc_profile"] == SRGB


def test_palettes_and_cmyk_become_rgb(tmp_path: Path, model: ExportedModel) -> None:
    photo = Image.fromarray(scene(1, 20))
    assert one(tmp_path, model, "palette.png", photo.quantize(8)).mode == "RGB"
    result = one(tmp_path, model, "print.jpg", photo.convert("CMYK"))
    assert result.mode == "RGB"
    shown = np.asarray(Image.open(tmp_path / "print.jpg").convert("RGB")).mean()
    assert abs(np.asarray(result).mean() - shown) < 12


def test_jpeg_is_written_at_95_with_full_colour_resolution(
    tmp_path: Path, model: ExportedModel
) -> None:
    result = one(tmp_path, model, "photo.jpg", Image.fromarray(scene(1, 20)))
    expected = io.BytesIO()
    Image.new("RGB", (8, 8)).save(expected, "JPEG", quality=95, subsampling=0)
    assert result.quantization == Image.open(expected).quantization  # type: ignore[attr-defined]
    assert result.layer[0][1:3] == result.layer[1][1:3]  # type: ignore[attr-defined]


def test_animations_and_bombs_are_refused(tmp_path: Path, model: ExportedModel) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    frames = [Image.fromarray(scene(i, 16)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("1", (5000, 5000)).save(folder / "bomb.png")
    options = UpscaleOptions(max_pixels=1_000_000)
    summary = upscale(str(folder), str(tmp_path / "out"), model, options)
    assert [(f.name, f.reason) for f in summary.failures] == [
        ("bomb.png", "too_many_pixels"),
        ("moving.gif", "animated"),
    ]
    assert not (tmp_path / "out").exists()


def test_what_a_format_cannot_hold_is_reported(tmp_path: Path, model: ExportedModel) -> None:
    Image.new("L", (9000, 1)).save(tmp_path / "wide.png")
    summary = upscale(str(tmp_path / "wide.png"), str(tmp_path / "wide.webp"), model)
    [failure] = summary.failures
    assert failure.reason == "not_encodable"
    assert not (tmp_path / "wide.webp").exists()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, model: ExportedModel) -> None:
    Image.fromarray(scene(1, 16)).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("in the way")
    [failure] = upscale(str(tmp_path / "a.png"), str(tmp_path / "file" / "a.png"), model).failures
    assert failure.reason == "not_written"
    assert "cannot write" in failure.detail


def test_progress_tells_photos_and_tiles(
    photos: Path, tmp_path: Path, model: ExportedModel
) -> None:
    seen: list[UpscaleProgress] = []
    options = UpscaleOptions(tile=16, overlap=4)
    upscale(str(photos), str(tmp_path / "out"), model, options, progress=seen.append)
    assert seen[-1] == UpscaleProgress(6 - 1, 6 - 1, "", 0, 0)
    tiles = [(p.tile, p.tiles) for p in seen if p.name == "a.png"]
    assert tiles == [(i, 9) for i in range(1, 10)]


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("out.xyz", {}, r"out\.xyz: no picture format; end it in \.jpg"),
        ("out", {}, "no picture format; end it in"),
        ("out.png", {"suffix": "exe"}, "suffix 'exe': no picture format; use .jpg"),
    ],
)
def test_a_target_without_a_format_is_told(
    photos: Path, tmp_path: Path, target: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(str(photos / "a.png"), str(tmp_path / target), UpscaleOptions(**options))  # type: ignore[arg-type]


def test_a_source_that_is_not_there_and_a_target_that_is_a_file(
    photos: Path, tmp_path: Path, model: ExportedModel
) -> None:
    with pytest.raises(StorageError, match="no such file or folder"):
        upscale(str(tmp_path / "nothing"), str(tmp_path / "out"), model)
    with pytest.raises(ConfigError, match=r"is a file, but .* is a folder"):
        upscale(str(photos), str(photos / "a.png"), model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no files to enlarge"):
        upscale(str(tmp_path / "empty"), str(tmp_path / "out"), model)


def test_real_photos(tmp_path: Path, model: ExportedModel) -> None:
    data = shared_data()
    (tmp_path / "in").mkdir()
    for name in ("codeformer_02.png", "dlib_2008_004176.jpg", "realesrgan_children-alpha.png"):
        shutil.copy(data / "photos" / name, tmp_path / "in" / name)
    summary: UpscaleSummary = upscale(str(tmp_path / "in"), str(tmp_path / "out"), model)
    assert summary.failures == []
    for name in os.listdir(tmp_path / "in"):
        before, after = Image.open(tmp_path / "in" / name), Image.open(tmp_path / "out" / name)
        assert after.size == (2 * before.width, 2 * before.height)
        assert ("A" in after.getbands()) == ("A" in before.getbands())
        small = after.convert("RGB").resize(before.size, Image.Resampling.BOX)
        # The weights are random, so it is the photo and not a good one.
        assert np.corrcoef(np.ravel(small), np.ravel(before.convert("RGB")))[0, 1] > 0.9
