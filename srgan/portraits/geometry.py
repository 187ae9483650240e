"""The head and shoulders as a signed distance field, and the surface a camera sees of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from srgan.portraits.traits import Floats, Person, Shot

GRID = 92
PIVOT = np.array([0.0, -0.7, -0.15], np.float32)
CENTRE_Y = -0.13
HALF = 1.56


@dataclass
class Surface:
    """What each pixel sees, all maps [n, n] float32 unless said otherwise.

    `x`, `y`, `z` are world positions, `hx`, `hy`, `hz` the same points in the head's own frame,
    `normal` [n, n, 3] unit normals, `cover` 0..1 is how much of the pixel the figure fills,
    `head` 0..1 tells head from body, `open` is ambient openness, `lit` is the key light's reach.
    `rotation` [3, 3] turns head coordinates, y stretched by `tall`, into world ones; `unit` is
    pixels per head unit.
    """

    x: Floats
    y: Floats
    z: Floats
    hx: Floats
    hy: Floats
    hz: Floats
    normal: Floats
    cover: Floats
    head: Floats
    open: Floats
    lit: Floats
    rotation: Floats
    tall: float
    unit: float
    centre: tuple[float, float]

    def to_world(self, points: Floats) -> Floats:
        """Head-frame points [..., 3] in the world frame."""
        tall = np.array([1, self.tall, 1], np.float32)
        return np.asarray((points * tall - PIVOT) @ self.rotation.T + PIVOT, np.float32)

    def to_pixel(self, points: Floats) -> tuple[Floats, Floats]:
        """Columns and rows, as floats, of world points [..., 3]."""
        n = self.x.shape[0]
        column = (points[..., 0] - self.centre[0]) * self.unit + n / 2
        row = n / 2 - (points[..., 1] - self.centre[1]) * self.unit
        return column, row

    def window(self, point: tuple[float, float, float], reach: float) -> tuple[slice, slice]:
        """The rows and columns within `reach` head units of a head-frame point."""
        column, row = self.to_pixel(self.to_world(np.array(point, np.float32)))
        n, half = self.x.shape[0], reach * self.unit
        return (
            slice(max(int(row - half), 0), min(int(row + half) + 1, n)),
            slice(max(int(column - half), 0), min(int(column + half) + 1, n)),
        )


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """The [3, 3] matrix of a head turn: yaw about y, then pitch about x, then roll about z."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, np.float32)


def upsample(small: Floats, n: int) -> Floats:
    """A [m, k] map resized to [n, n] with a bicubic filter."""
    return np.asarray(Image.fromarray(small).resize((n, n), Image.Resampling.BICUBIC))


def _ellipsoid(
    x: Floats, y: Floats, z: Floats, c: tuple[float, ...], r: tuple[float, ...]
) -> Floats:
    a, b, d = (x - c[0]) / r[0], (y - c[1]) / r[1], (z - c[2]) / r[2]
    near = a * a + b * b + d * d
    a, b, d = a / r[0], b / r[1], d / r[2]
    return np.asarray((near - np.sqrt(near)) / np.sqrt(a * a + b * b + d * d + 1e-9))


def _sphere(x: Floats, y: Floats, z: Floats, c: tuple[float, ...], r: float) -> Floats:
    a, b, d = x - c[0], y - c[1], z - c[2]
    return np.asarray(np.sqrt(a * a + b * b + d * d) - r)


def _join(a: Floats, b: Floats, k: float) -> Floats:
    h = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * (0.25 / k)


def _carve(a: Floats, b: Floats, k: float) -> Floats:
    return -_join(-a, b, k)


class Figure:
    """One person's head and shoulders in one pose."""

    def __init__(self, who: Person, how: Shot) -> None:
        self.who, self.how = who, how
        self.rotation = rotation(how.yaw, how.pitch, how.roll)

    def to_head(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """World coordinates in the head's own frame."""
        m = self.rotation
        a, b, c = x - PIVOT[0], y - PIVOT[1], z - PIVOT[2]
        return (
            a * m[0, 0] + b * m[1, 0] + c * m[2, 0] + PIVOT[0],
            (a * m[0, 1] + b * m[1, 1] + c * m[2, 1] + PIVOT[1]) / np.float32(self.who.tall),
            a * m[0, 2] + b * m[1, 2] + c * m[2, 2] + PIVOT[2],
        )

    def head(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Signed distance to the head, from head-frame coordinates."""
        w, smile = self.who, max(self.how.smile, 0.0)
        side = np.abs(x)
        d = _ellipsoid(x, y, z, (0, 0.28, -0.16), (0.69 * w.head, 0.74, 0.84))
        d = _join(d, _ellipsoid(x, y, z, (0, -0.2, 0.06), (0.54 * w.head, 0.79, 0.62)), 0.14)
        jaw = (0.235 * w.jaw, -0.5, 0.12)
        d = _join(d, _ellipsoid(side, y, z, jaw, (0.2, 0.29, 0.4)), 0.2)
        chin = (0, -0.83 * w.chin, 0.39)
        d = _join(d, _ellipsoid(x, y, z, chin, (0.15 * w.jaw, 0.14, 0.17)), 0.2)
        cheek = (0.34, -0.19 + 0.04 * smile, 0.365 + 0.02 * smile)
        size = w.cheek * (1 + 0.08 * smile)
        d = _join(d, _ellipsoid(side, y, z, cheek, (0.19 * size, 0.16 * size, 0.2)), 0.22)
        d = _join(d, _ellipsoid(side, y, z, (0.23, 0.21, 0.46), (0.27, 0.1, 0.13 * w.brow)), 0.2)
        d = _carve(d, _sphere(side, y, z, (w.eye_gap - 0.06, 0.0, 0.82), 0.16), 0.2)
        d = _join(d, _sphere(side, y, z, (w.eye_gap, -0.005, 0.45), 0.155), 0.05)
        d = _join(d, _ellipsoid(x, y, z, (0, -0.56, 0.42), (0.25, 0.25, 0.235)), 0.2)
        d = _join(d, self._nose(x, y, z, side), 0.09)
        return d if w.style == "scarf" else np.minimum(d, self._ear(side, y, z))

    def _nose(self, x: Floats, y: Floats, z: Floats, side: Floats) -> Floats:
        w = self.who
        top, tip, base = 0.12, -0.29 * w.nose_length, 0.62
        out = 0.2 * w.nose_height
        t = np.clip((top - y) / (top - tip), 0, 1)
        radius = 0.045 + 0.052 * w.nose_width * t * t
        a, b, c = x, y - (top + (tip - top) * t), z - (base + out * t * (0.75 + 0.25 * t))
        d = np.sqrt(a * a + b * b + c * c) - radius
        wing = (0.085 * w.nose_width, tip - 0.02, base + 0.08)
        return _join(d, _ellipsoid(side, y, z, wing, (0.055, 0.058, 0.09)), 0.07)

    def _ear(self, side: Floats, y: Floats, z: Floats) -> Floats:
        a, b, c = side - 0.645 * self.who.head, y + 0.13, z + 0.06
        across, along = a * 0.9 + c * 0.436, c * 0.9 - a * 0.436
        lean = along + b * 0.18
        size = self.who.ears
        d = _ellipsoid(across, b, lean, (0, 0, -0.04), (0.055, 0.23 * size, 0.14 * size))
        return _carve(
            d, _ellipsoid(across, b, lean, (0.06, 0.03, -0.03), (0.045, 0.14, 0.08)), 0.03
        )

    def body(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Signed distance to the neck and shoulders, from world coordinates."""
        w = self.who
        t = np.clip((-0.45 - y) / 1.1, 0, 1)
        lean = 0.12 * self.how.yaw * (1 - t)
        a, c = x - lean, z + 0.16 + 0.12 * t
        d = (
            np.sqrt(a * a + c * c * 1.1)
            - (0.345 + 0.05 * t * t) * w.neck
            - 0.09 * (w.style == "scarf")
        )
        wide = 1.5 * (1.08 - 0.16 * w.soft)
        d = np.maximum(d, y - 0.1)
        return _join(d, _ellipsoid(x, y, z, (0, -2.24, -0.3), (wide, 0.98, 0.66)), 0.34)

    def distance(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Signed distance to the whole figure, from world coordinates."""
        return _join(self.head(*self.to_head(x, y, z)), self.body(x, y, z), 0.14)

    def look(self, n: int) -> Surface:
        """The surface seen by an orthographic camera of [n, n] pixels."""
        half = HALF / self.how.zoom
        cx, cy = self.how.shift[0], CENTRE_Y + self.how.shift[1]
        steps = ((np.arange(GRID, dtype=np.float32) + 0.5) / GRID * 2 - 1) * np.float32(half)
        x, y = (m.ravel() for m in np.meshgrid(steps + np.float32(cx), np.float32(cy) - steps))
        z, nearest = self._march(x, y)
        near = nearest < 0.1
        hit = (x[near], y[near], z[near])
        normal = self._normal(*hit)
        part = self.body(*hit) - self.head(*self.to_head(*hit))
        found = (*self._light(*hit, normal), part, *normal)
        # What surrounds the figure is never seen, but the filter reaches one cell into it.
        filled = np.zeros((6, x.size), np.float32)
        filled[:2] = 1
        filled[:, near] = found
        small = np.stack([z, nearest, *filled]).reshape(-1, GRID, GRID)
        maps = [upsample(m, n) for m in small]
        fine = ((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1) * np.float32(half)
        wx, wy = np.meshgrid(fine + np.float32(cx), np.float32(cy) - fine)
        hx, hy, hz = self.to_head(wx, wy, maps[0])
        stacked = np.stack(maps[5:], axis=-1)
        stacked /= np.sqrt((stacked * stacked).sum(-1, keepdims=True)) + 1e-6
        return Surface(
            x=wx, y=wy, z=maps[0], hx=hx, hy=hy, hz=hz, normal=stacked,
            cover=np.clip((0.024 - maps[1]) / 0.014, 0, 1),
            head=np.clip(maps[4] / 0.02 + 0.5, 0, 1),
            open=np.clip(maps[2], 0, 1), lit=np.clip(maps[3], 0, 1),
            rotation=self.rotation, tall=self.who.tall, unit=n / (2 * half), centre=(cx, cy),
        )  # fmt: skip

    def _march(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        z = np.full_like(x, 1.0)
        nearest, at = np.full_like(x, 9.0), z.copy()
        live = np.arange(x.size)
        for _ in range(18):
            d = self.distance(x[live], y[live], z[live])
            closer = d < nearest[live]
            nearest[live[closer]], at[live[closer]] = d[closer], z[live][closer]
            keep = (d > 0.003) & (z[live] > -0.75)
            live, d = live[keep], d[keep]
            if not live.size:
                break
            z[live] -= np.maximum(d, 0.01)
        return at, np.maximum(nearest, 0)

    def _normal(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        e = np.float32(0.02)
        corners = ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1))
        parts = [(s, self.distance(x + e * s[0], y + e * s[1], z + e * s[2])) for s in corners]
        nx, ny, nz = (sum(s[i] * d for s, d in parts) for i in range(3))
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
        return nx / length, ny / length, nz / length

    def _light(
        self, x: Floats, y: Floats, z: Floats, n: tuple[Floats, Floats, Floats]
    ) -> tuple[Floats, Floats]:
        near = self.distance(x + n[0] * 0.07, y + n[1] * 0.07, z + n[2] * 0.07) / 0.07
        far = self.distance(x + n[0] * 0.25, y + n[1] * 0.25, z + n[2] * 0.25) / 0.25
        lx, ly, lz = self.how.light
        lit = np.ones_like(x)
        for t in (0.07, 0.13, 0.2, 0.3, 0.42, 0.58, 0.78):
            px, py, pz = (
                x + n[0] * 0.02 + lx * t,
                y + n[1] * 0.02 + ly * t,
                z + n[2] * 0.02 + lz * t,
            )
            lit = np.minimum(lit, 0.5 + 5.0 * self.distance(px, py, pz) / t)
        lit = np.clip(lit, 0, 1)
        return 0.5 * near + 0.5 * far, lit * lit * (3 - 2 * lit)
