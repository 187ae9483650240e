"""The reasons for rejects in words."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "not_an_image": "nothing to decode: another kind of file, or an empty one",
    "corrupt": "damaged: it starts like an image and cannot be decoded to its end",
    "too_many_pixels": "more pixels than max_pixels; not decoded",
    "too_many_bytes": "larger than max_bytes; not read",
    "aspect": "longer than max_aspect times its shorter side",
    "too_small": "too small: HR is never made by enlarging",
    "alpha": "transparent, where alpha is set to reject",
    "grey": "without colour, where grey is set to reject",
    "animated": "several frames, where animated is set to reject",
    "encrypted": "encrypted in its archive",
    "unsafe_path": "an archive member whose path leads out of the archive",
    "blurred": "less detail than min_sharpness asks for",
    "flat": "less contrast than min_contrast asks for",
    "no_face": "no face was found in it",
    "small_face": "only faces that are too small for HR",
    "unpaired": "an HR file without its LR file, or the other way round",
    "pair_mismatch": "LR is not HR's size divided by the scale",
    "duplicate": "the same file or the same pixels as another one, which is used",
    "near_duplicate": "nearly the same picture as one in another split",
    "excluded": "in a dataset that this one must not share photos with",
}


def meaning(reason: str) -> str:
    """What a reason means; empty for one that this version does not know."""
    return MEANINGS.get(reason, "")
