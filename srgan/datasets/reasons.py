"""The reasons for rejects in words."""

from __future__ import annotations

from collections.abc import Mapping

# In a few words: they stand in a column beside the counts.
MEANINGS: Mapping[str, str] = {
    "not_an_image": "another kind of file, or an empty one",
    "corrupt": "damaged: cannot be decoded to its end",
    "too_many_pixels": "more than max_pixels; not decoded",
    "too_many_bytes": "larger than max_bytes; not read",
    "aspect": "longer than max_aspect allows",
    "too_small": "too small: HR is never made by enlarging",
    "alpha": "transparent, and alpha is 'reject'",
    "grey": "without colour, and grey is 'reject'",
    "animated": "several frames, and animated is 'reject'",
    "encrypted": "encrypted in its archive",
    "unsafe_path": "its path leads out of its archive",
    "blurred": "less detail than min_sharpness",
    "flat": "less contrast than min_contrast",
    "no_face": "no face found",
    "small_face": "a face too small for HR",
    "unpaired": "HR without its LR file, or the reverse",
    "pair_mismatch": "HR is not scale times as large as LR",
    "duplicate": "same file or pixels as one that is used",
    "near_duplicate": "nearly the same as one in another split",
    "excluded": "held by a dataset that is kept apart",
}


def meaning(reason: str) -> str:
    """What a reason means; empty for one that this version does not know."""
    return MEANINGS.get(reason, "")
