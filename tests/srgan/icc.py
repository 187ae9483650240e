"""ICC profiles made from numbers (ICC.1:2001-04), and what they should give, in float."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95047, 1.0, 1.08883])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Floats:
    """Linear RGB (white D65) to XYZ as D50 sees it (Lindbloom; Bradford's adaptation) [3, 3]."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, D65)
    cones = (_BRADFORD @ D50) / (_BRADFORD @ D65)
    adapted: Floats = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    return adapted


def srgb_encoded(linear: Floats) -> Floats:
    """Linear light in [0, 1] to sRGB's levels (IEC 61966-2-1), 0 to 255, not rounded."""
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(encoded * 255)


def srgb_linear(levels: Floats) -> Floats:
    """The inverse of :func:`srgb_encoded`."""
    unit = np.asarray(levels, float) / 255
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)


def lab_to_srgb(lab: tuple[float, float, float]) -> Floats:
    """CIELAB (D50) to sRGB's levels."""
    lightness, a, b = lab
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return srgb_encoded(np.linalg.solve(to_xyz(SRGB), xyz))


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float | None = None) -> bytes:
    """A display's matrix and curve; ``gamma`` or, where it is ``None``, sRGB's curve."""
    curve = _gamma(gamma) if gamma is not None else _curve(srgb_linear(np.linspace(0, 255, 1024)))
    xyz = to_xyz(primaries)
    tags = {b"wtpt": _xyz(D50)}
    for index, channel in enumerate((b"r", b"g", b"b")):
        tags[channel + b"XYZ"] = _xyz(xyz[:, index])
        tags[channel + b"TRC"] = curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """Grey with a curve."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": _gamma(gamma)})


def cmyk_profile(corners: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A printer whose 16 combinations of full inks (0 or 1) have these colours in CIELAB."""
    nodes = bytearray()
    for index in range(16):
        inks = (index >> 3 & 1, index >> 2 & 1, index >> 1 & 1, index & 1)
        lightness, a, b = corners[inks]
        nodes += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    to_lab = _table(4, 3, bytes(nodes))
    # Back: black ink for what is dark. littlecms asks for it to find the darkest printed colour.
    to_inks = _table(3, 4, bytes([0, 0, 0, 255] * 4 + [0, 0, 0, 0] * 4))
    tags = {b"wtpt": _xyz(D50), b"A2B0": to_lab, b"A2B1": to_lab, b"B2A0": to_inks}
    return _profile(b"prtr", b"CMYK", b"Lab ", {**tags, b"B2A1": to_inks})


def _table(inputs: int, outputs: int, nodes: bytes) -> bytes:
    """A lookup table with two nodes in each dimension."""
    head = struct.pack(">4s4xBBBx", b"mft1", inputs, outputs, 2)
    head += struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    identity = bytes(range(256))
    return head + identity * inputs + nodes + identity * outputs


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _description(), b"cprt": b"text\0\0\0\0none\0", **tags}
    place = 128 + 4 + 12 * len(tags)
    table, bodies = b"", b""
    for tag, body in tags.items():
        padded = body + b"\0" * (-len(body) % 4)
        table += tag + struct.pack(">2L", place + len(bodies), len(body))
        bodies += padded
    header = struct.pack(
        ">L4sL4s4s4s12s4s4sL4s4s8sL3i4s44x",
        place + len(bodies), b"none", 0x02100000, kind, space, pcs, b"\0" * 12, b"acsp", b"none",
        0, b"none", b"none", b"\0" * 8, 0, *_fixed(D50), b"none",
    )  # fmt: skip
    return header + struct.pack(">L", len(tags)) + table + bodies


def _description() -> bytes:
    return b"desc" + struct.pack(">4xL", 5) + b"test\0" + b"\0" * 78


def _fixed(values: Floats) -> list[int]:
    return [round(float(value) * 65536) for value in values]


def _xyz(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *_fixed(values))


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256))


def _curve(values: Floats) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(
        f">L{len(values)}H", len(values), *(round(float(value) * 65535) for value in values)
    )
