"""Colours as sRGB: embedded ICC profiles are applied (by littlecms, through Pillow).

Networks, metrics and viewers take pixels for sRGB. A photo in Display P3 or Adobe RGB read as if
it were sRGB is duller than it was, and a CMYK one has other colours altogether.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# Relative colorimetric keeps every colour that sRGB has as it was measured, where the perceptual
# intent moves them all to make room for those that it has not: training targets are to be true.
# Black point compensation, as Photoshop does it: a printed black is no dark grey on a screen.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# Profiles of monitors and cameras have some KiB, those of printers up to 3 MiB.
_MOST_BYTES = 4 * 2**20
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
# Of devices and colour spaces; links between two, abstract and named ones describe no image.
_CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
# The many profiles called sRGB differ from each other by a grey level at most.
_SAME = 1


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode L, RGB, CMYK or LAB in mode RGB, its colours those that ``profile`` means.

    A profile that is damaged or made for another kind of image is ignored: RGB and grey are then
    sRGB, and CMYK is converted as if its inks were ideal. Black and white stay.
    """
    if profile is None and image.mode == "RGB":
        return image
    space = _space(profile) if profile is not None else None
    if image.mode == "L":
        if profile is not None and space == "L":
            curve = _grey_curve(profile)
            image = image if curve is None else image.point(curve)
        image = image.convert("RGB")  # Many a grey photo carries the profile of a colour space.
    if profile is not None and space == image.mode:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return _applied(image, transform)
    if image.mode == "LAB":
        return _applied(image, _lab_transform())
    return image if image.mode == "RGB" else image.convert("RGB")


def layers(image: Image.Image, kind: str) -> tuple[Image.Image, Image.Image | None]:
    """Colours in a mode that profiles are for (L, RGB, CMYK, LAB), and alpha (L) if any."""
    mode, transparency = image.mode, image.info.get("transparency")
    if mode in ("L", "RGB", "CMYK", "LAB") and transparency is None:
        return image, None
    if mode == "F" or mode.startswith("I"):
        return _deep_grey(image, kind, transparency)
    if mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    if "A" in image.getbands() or transparency is not None:
        layered = image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = layered.getchannel("A")
        return layered.convert("L" if layered.mode == "LA" else "RGB"), alpha
    return image.convert("L" if mode == "1" else "RGB"), None


def _space(profile: bytes) -> str | None:
    """Mode of the images that a profile is for; ``None`` where it is none or too large."""
    if profile[36:40] != b"acsp" or profile[12:16] not in _CLASSES or len(profile) > _MOST_BYTES:
        return None
    return _MODES.get(profile[16:20])


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; ``None`` where it is unusable, or is sRGB.

    Photos of one camera share a profile, and finding it costs microseconds. Most are sRGB, whose
    pixels are left alone.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", INTENT, _FLAGS)
        if mode == "RGB":
            probe = _probe()
            found = np.asarray(_applied(Image.fromarray(probe), transform))
            if np.abs(found.astype(np.int16) - probe).max() <= _SAME:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform


@lru_cache(maxsize=32)
def _grey_curve(profile: bytes) -> list[int] | None:
    """Grey levels of sRGB for the 256 levels of a profile; ``None`` where it is unusable."""
    transform = _transform(profile, "L")
    if transform is None:
        return None
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    # Green: the three channels differ by rounding alone, and grey has to stay grey.
    curve: list[int] = np.asarray(_applied(levels, transform))[0, :, 1].tolist()
    return curve


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _probe() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """All greys and a grid of colours, uint8 [985, 1, 3]."""
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    steps = np.linspace(0, 255, 9).round().astype(int)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return np.concatenate([greys, grid]).astype(np.uint8)[:, None]


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    # Not through littlecms' table of colours, which is 50 levels off where sRGB's gamut ends.
    flags = _FLAGS | ImageCms.Flags.NOOPTIMIZE
    return ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB", INTENT, flags)


def _deep_grey(
    image: Image.Image, kind: str, transparency: int | None
) -> tuple[Image.Image, Image.Image | None]:
    """Grey of 16 bits, 32 bits or floats in 8 bits: Pillow's own conversion clips at 255."""
    values = np.asarray(image)
    alpha = None
    if isinstance(transparency, int):
        alpha = Image.fromarray(np.where(values == transparency, 0, 255).astype(np.uint8))
    if image.mode.startswith("I;16") or kind == "PPM":
        top = 65535.0
    else:
        # Nothing in the file says what is white: 1, 255 and 65535 are what programs write.
        values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
        most = values.max(initial=0)
        top = 65535.0 if most > 255 else 255.0 if most > 1 or image.mode != "F" else 1.0
    levels = np.rint(np.clip(values.astype(np.float32) / np.float32(top), 0, 1) * 255)
    return Image.fromarray(levels.astype(np.uint8)), alpha
