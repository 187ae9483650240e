"""Skin, eyes, mouth and the light on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from srgan.portraits.geometry import Surface
from srgan.portraits.traits import Floats, Person, Shot

Window = tuple[slice, slice]
WRAP = np.array([0.42, 0.2, 0.13], np.float32)


@dataclass
class Coat:
    """What the surface is made of: `albedo` [n, n, 3] linear, `bump` and `gloss` [n, n]."""

    albedo: Floats
    bump: Floats
    gloss: Floats

    def blend(self, where: Window, amount: Floats, colour: Floats) -> None:
        """Lay `colour` over the albedo of a window, `amount` [h, w] of it."""
        part = self.albedo[where]
        part += (colour - part) * amount[..., None]

    def tint(self, where: Window, amount: Floats, factor: Floats | float) -> None:
        """Multiply the albedo of a window by `factor` where `amount` [h, w] is 1."""
        self.albedo[where] *= 1 + amount[..., None] * (np.asarray(factor, np.float32) - 1)


ALL = (slice(None), slice(None))


def noise(rng: np.random.Generator, n: int, cells: int, octaves: int = 1) -> Floats:
    """Smooth [n, n] noise of about unit deviation; the coarsest blobs are n / cells wide."""
    total = np.zeros((n, n), np.float32)
    for octave in range(octaves):
        m = min(cells * 2**octave, n)
        grid = Image.fromarray(rng.standard_normal((m, m), np.float32))
        total += np.asarray(grid.resize((n, n), Image.Resampling.BICUBIC)) * np.float32(
            0.55**octave
        )
    return total


def spot(x: Floats, y: Floats, c: tuple[float, float], r: tuple[float, float]) -> Floats:
    """A soft round mark, 1 at its centre, of standard deviations `r`."""
    a, b = (x - c[0]) / r[0], (y - c[1]) / r[1]
    return np.exp(-0.5 * (a * a + b * b))


def segment(x: Floats, y: Floats, a: tuple[float, float], b: tuple[float, float]) -> Floats:
    """Distance of points to a line segment."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - a[0] - t * dx, y - a[1] - t * dy)


def skin(view: Surface, who: Person, how: Shot, rng: np.random.Generator) -> Coat:
    """Skin over the whole figure: blush, mottling, freckles, folds, pores and nostrils."""
    n = view.x.shape[0]
    albedo = np.empty((n, n, 3), np.float32)
    albedo[:] = who.skin
    coat = Coat(albedo, np.zeros((n, n), np.float32), np.full((n, n), 0.32, np.float32))
    mottle = noise(rng, n, 14, 3)
    coat.albedo *= 1 + mottle[..., None] * np.array([0.02, 0.035, 0.035], np.float32)
    coat.gloss *= 1 + 0.15 * mottle
    pores = noise(rng, n, n // 2) + 0.7 * noise(rng, n, n // 4)
    coat.bump += pores * (0.0004 + 0.0003 * who.age) * view.head
    coat.albedo *= 1 + (pores * 0.008)[..., None]
    where = view.window((0, -0.1, 0.2), 0.98)
    x, y, head = view.hx[where], view.hy[where], view.head[where]
    side = np.abs(x)
    face = head * (view.hz[where] > 0.05)
    blush = spot(side, y, (0.36, -0.24), (0.15, 0.12)) * (0.8 + 0.5 * how.smile)
    blush += 0.8 * spot(x, y, (0, -0.3), (0.1, 0.08)) + 0.45 * spot(x, y, (0, -0.86), (0.14, 0.1))
    blush += 1.1 * head * np.clip((side - 0.6) / 0.06, 0, 1) * (y < 0.2)
    redness = np.array([1.02, 0.8, 0.8], np.float32) - 0.06 * who.makeup
    coat.tint(where, np.clip(blush * face * 0.75, 0, 1.2), redness)
    under = spot(side, y, (who.eye_gap - 0.01, -0.12), (0.11, 0.05)) * (0.4 + 0.8 * who.age)
    socket = spot(side, y, (who.eye_gap - 0.03, 0.07), (0.15, 0.06))
    coat.tint(where, (under * 0.6 + socket * 0.5) * face, np.array([0.78, 0.7, 0.72], np.float32))
    coat.tint(
        where, spot(x, y, (0, 0.5), (0.4, 0.25)) * face, np.array([1.03, 1.02, 0.97], np.float32)
    )
    if who.beard != "none" or who.soft < 0.3:
        shadow = beard_area(view)[where] * (0.5 if who.beard == "none" else 0.85)
        coat.tint(where, shadow * face, np.array([0.8, 0.84, 0.88], np.float32))
    _marks(coat, view, who, where, face, rng)
    coat.gloss[where] += 0.25 * spot(x, y, (0, -0.1), (0.16, 0.3))
    coat.gloss[where] += 0.12 * spot(x, y, (0, 0.45), (0.35, 0.2))
    _folds(coat, view, who, how)
    return coat


def beard_area(view: Surface) -> Floats:
    """Where a beard would grow, [n, n] in 0..1."""
    x, y, side = view.hx, view.hy, np.abs(view.hx)
    line = (
        -0.36 - 0.18 * np.clip(1 - (side / 0.42) ** 2, 0, 1) + 0.55 * np.clip(side - 0.46, 0, 1) * 4
    )
    cheeks = np.clip((line - y) / 0.07, 0, 1) * np.clip((view.hz + 0.12) / 0.1, 0, 1)
    lip = np.clip((0.3 - side) / 0.06, 0, 1) * np.clip((-0.4 - y) / 0.04, 0, 1)
    mouth = spot(x, y, (0, -0.585), (0.17, 0.05))
    area = np.maximum(cheeks, lip) * np.clip(1.1 - 1.6 * mouth, 0, 1) * view.head
    return np.asarray(area * np.clip((0.62 - side) / 0.05, 0, 1), np.float32)


def _marks(
    coat: Coat, view: Surface, who: Person, where: Window, face: Floats, rng: np.random.Generator
) -> None:
    n = view.x.shape[0]
    own = np.random.Generator(np.random.PCG64([31337, who.key]))
    if who.freckles > 0.25:
        specks = np.clip(noise(rng, n, n // 5) - 1.05, 0, 0.7)
        specks += np.clip(noise(rng, n, n // 3) - 1.4, 0, 0.6)
        area = spot(view.hx[where], view.hy[where], (0, -0.16), (0.38, 0.17)) + 0.2
        dark = np.array([0.74, 0.62, 0.54], np.float32)
        coat.tint(where, np.clip(specks[where] * area * face * who.freckles * 1.9, 0, 0.9), dark)
    for _ in range(int(own.integers(0, 3))):
        at = (float(own.uniform(-0.42, 0.42)), float(own.uniform(-0.8, -0.15)))
        rows, columns = view.window((*at, 0.6), 0.1)
        patch = (rows, columns)
        mark = spot(view.hx[patch], view.hy[patch], at, (0.012, 0.012))
        coat.tint(patch, mark * 0.85, np.array([0.4, 0.3, 0.26], np.float32))
        coat.bump[patch] += 0.006 * mark


def _folds(coat: Coat, view: Surface, who: Person, how: Shot) -> None:
    where = view.window((0, -0.1, 0.6), 0.85)
    x, y, side = view.hx[where], view.hy[where], np.abs(view.hx[where])
    bump, smile = coat.bump[where], max(how.smile, 0.0)
    mask = view.head[where] * (view.hz[where] > 0.05)
    deep = 0.25 + 0.8 * smile + 0.9 * who.age
    gap = segment(side, y, (0.135, -0.31), (0.27 + 0.03 * smile, -0.54))
    fold = np.exp(-((gap / 0.022) ** 2))
    bump -= 0.009 * deep * fold
    coat.tint(where, fold * 0.22 * deep * mask, np.array([0.75, 0.62, 0.6], np.float32))
    bump += 0.012 * smile * spot(side, y, (0.36, -0.3), (0.1, 0.1))
    bump -= 0.012 * spot(x, y, (0, -0.43), (0.018, 0.05))
    bump -= 0.006 * np.exp(-((segment(x, y, (-0.09, -0.72), (0.09, -0.72)) / 0.03) ** 2))
    if who.age > 0.35:
        old = (who.age - 0.35) * 1.6
        waver = 0.02 * np.sin(7 * x + who.key) + 0.05 * x * x
        lines = np.sin((y + waver) * 62) * spot(x, y, (0, 0.46), (0.28, 0.09))
        corner = np.arctan2(y - 0.01, side - 0.38)
        crow = np.cos(corner * 17) * spot(side, y, (0.5, 0.0), (0.055, 0.08)) * (0.4 + smile)
        bags = np.exp(-((segment(side, y, (0.2, -0.13), (0.37, -0.11)) / 0.014) ** 2))
        bump += old * (0.003 * lines + 0.0025 * crow - 0.005 * bags)
        crease = np.clip(-lines, 0, 1) * 0.35 + np.clip(-crow, 0, 1) * 0.3 + bags * 0.35
        coat.tint(where, crease * old * mask, np.array([0.72, 0.6, 0.58], np.float32))
    tip = -0.29 * who.nose_length
    for sign in (-1.0, 1.0):
        hole = spot(x, y, (sign * 0.06 * who.nose_width, tip - 0.083), (0.027, 0.013))
        coat.tint(where, np.clip(hole * 1.3, 0, 0.85), np.array([0.2, 0.1, 0.08], np.float32))
        wing = segment(
            x, y, (sign * 0.135 * who.nose_width, tip + 0.02), (sign * 0.125, tip - 0.08)
        )
        bump -= 0.008 * np.exp(-((wing / 0.016) ** 2))


def shade(view: Surface, coat: Coat, how: Shot) -> Floats:
    """The lit figure, [n, n, 3] linear light, black where the figure is not."""
    up, across = np.gradient(coat.bump * np.float32(view.unit))
    figure = np.flatnonzero(view.cover)
    normal = view.normal.reshape(-1, 3).take(figure, axis=0)
    normal[:, 0] -= across.ravel().take(figure)
    normal[:, 1] += up.ravel().take(figure)
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True))
    facing = normal @ how.light
    reach, open_ = view.lit.ravel().take(figure), view.open.ravel().take(figure)
    albedo = coat.albedo.reshape(-1, 3).take(figure, axis=0)
    sky = 0.5 + 0.5 * normal[:, 1]
    front = np.clip(normal[:, 2], 0, 1)
    ambient = open_ * (0.35 + 0.65 * front)
    rim_direction = np.array([how.rim_side * 0.9, 0.25, -0.35], np.float32)
    edge = (1 - front) ** 3 * np.clip(normal @ rim_direction, 0, 1) * 1.6
    half = how.light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    lean = np.clip(normal @ half, 0, 1)
    broad = lean**2
    broad = broad**2
    broad = broad**2
    tight = broad * broad * broad
    shine = (0.16 * broad + 0.6 * tight * tight) * coat.gloss.ravel().take(figure) * reach
    warm_fill, warm_reach = ambient**0.65, reach**0.7
    lit = np.empty_like(albedo)
    for c in range(3):
        soft = np.clip((facing + WRAP[c]) / (1 + WRAP[c]), 0, 1) ** 1.25
        light = how.key[c] * 0.42 * soft * (reach if c else warm_reach)
        fill = how.sky[c] * sky + how.ground[c] * (1 - sky)
        light += (ambient if c else warm_fill) * fill + edge * (how.rim[c] * 0.6)
        lit[:, c] = albedo[:, c] * light + how.key[c] * 0.2 * shine + how.rim[c] * 0.06 * edge
    result = np.zeros_like(coat.albedo)
    result.reshape(-1, 3)[figure] = lit
    return result
