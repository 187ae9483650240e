"""Thin strokes in space: how they are drawn, and the brows, lashes and beards made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srgan.portraits.features import lids
from srgan.portraits.geometry import Surface
from srgan.portraits.skin import beard_area
from srgan.portraits.traits import Floats, Person, Shot


def unit(v: Floats) -> Floats:
    """Vectors [..., 3] at length 1."""
    return np.asarray(v / (np.sqrt((v * v).sum(-1, keepdims=True)) + 1e-6))


def draw(
    view: Surface,
    image: Floats,
    points: Floats,
    colours: Floats,
    *,
    depth: Floats | None = None,
    behind: Floats | None = None,
    mask: NDArray[np.bool_] | None = None,
    wide: bool = False,
) -> None:
    """Draw strands [s, t, 3] in world coordinates, one pixel wide or two, later ones on top.

    Writes `image` [n, n, 3], and marks in `mask` [n, n] where. With `depth` [n, n], parts of
    strands farther away are left out, or, where the figure fills a pixel only partly, drawn into
    `behind` [n, n, 3].
    """
    n = view.x.shape[0]
    column, row = view.to_pixel(points)
    # Nodes are not evenly spaced; a few samples more where strands stretch leaves no gaps.
    span = np.abs(np.diff(column, axis=1)) + np.abs(np.diff(row, axis=1))
    along = np.concatenate(
        [[0], np.cumsum(np.quantile(span[:: 1 + len(span) // 400], 0.93, axis=0))]
    )
    count = int(np.clip(along[-1] * 1.02, 3, 2.5 * n))
    at = np.interp(np.linspace(0, along[-1], count), along, np.arange(len(along)))
    at = np.minimum(at, len(along) - 1.001).astype(np.float32)
    low = at.astype(np.int64)
    mix = at - low
    place = np.stack([column, row, points[..., 2]])
    x, y, z = place[..., low] + (place[..., low + 1] - place[..., low]) * mix
    within = (x >= 0) & (x < n) & (y >= 0) & (y < n)
    flat = np.where(within, y.astype(np.int64) * n + x.astype(np.int64), 0)

    palette = colours.reshape(-1, 3)

    def put(target: Floats, where: NDArray[np.bool_], marks: NDArray[np.bool_] | None) -> None:
        chosen = np.flatnonzero(where)
        strand, step = np.divmod(chosen, count)
        node = strand * len(along) + low.take(step)
        colour = palette.take(node, axis=0)
        colour += (palette.take(node + 1, axis=0) - colour) * mix.take(step)[:, None]
        spots = flat.ravel().take(chosen)
        for beside in range(1 + wide):
            spots = np.minimum(spots + beside, n * n - 1)
            target.reshape(-1, 3)[spots] = colour
            if marks is not None:
                marks.reshape(-1)[spots] = True

    if depth is None:
        put(image, within, mask)
        return
    front = z > depth.ravel()[flat]
    put(image, within & front, mask)
    if behind is not None:
        edge = ((view.cover > 0.5) & (view.cover < 1)).ravel()
        put(behind, within & ~front & edge[flat], None)


def tones(
    who: Person, count: int, rng: np.random.Generator, shared: Floats, *, hair_: bool = True
) -> Floats:
    """Base colours [count, 1, 3]: a little variety, some grey hairs, locks in common."""
    value = np.exp(rng.normal(0, 0.11, count) + shared).astype(np.float32)
    base = (who.hair if hair_ else who.natural)[None] * value[:, None]
    white = rng.random(count) < who.grey
    base[white] = np.array([0.24, 0.235, 0.23], np.float32) * value[white, None]
    return base[:, None]


def on_face(view: Surface, x: Floats, y: Floats) -> Floats:
    """World points [..., 3] of the visible face at head-frame `x` and `y`."""
    n = view.x.shape[0]
    z = np.full_like(x, 0.62)
    for _ in range(3):
        world = view.to_world(np.stack([x, y, z], axis=-1))
        column, row = view.to_pixel(world)
        index = (
            np.clip(row, 0, n - 1).astype(np.int64),
            np.clip(column, 0, n - 1).astype(np.int64),
        )
        z = view.hz[index]
    return world


def _strokes(start: Floats, reach: Floats, curve: Floats) -> Floats:
    """Strands [s, 5, 3] from `start` along `reach`, bent by `curve`, all [s, 3]."""
    t = np.linspace(0, 1, 5, dtype=np.float32)[None, :, None]
    return np.asarray(start[:, None] + reach[:, None] * t + curve[:, None] * t * t, np.float32)


def brows_and_lashes(
    view: Surface, image: Floats, who: Person, how: Shot, rng: np.random.Generator
) -> None:
    """Draw brow hairs and lashes, each a stroke of its own."""
    turn = view.rotation.T
    dark = who.natural * (0.28 + 0.35 * (1 - who.brow_dark)) + 0.004
    for sign in (-1.0, 1.0):
        count = int(235 * who.brow_weight * view.unit / 103)
        t = rng.random(count).astype(np.float32)
        thick = (
            0.036 * who.brow_weight * np.minimum(1, 0.5 + 3 * t) * np.minimum(1, (1.04 - t) * 2.2)
        )
        peak = np.sin(3.14 * np.clip(t * 0.95, 0, 1))
        lift = 0.04 * who.brow_arch * peak + 0.03 * t - 0.05 * t**3 - 0.022 * (1 - t) ** 2
        v = rng.uniform(-1, 1, count).astype(np.float32)
        x = sign * (0.105 + 0.33 * t)
        start = on_face(
            view, x.astype(np.float32), (0.175 + lift + v * thick * 0.8).astype(np.float32)
        )
        rise = 0.03 * (1 - 1.4 * t) - 0.02 * v
        reach = np.stack([sign * (0.02 + 0.04 * t), rise, 0.012 + 0 * t], axis=-1).astype(
            np.float32
        )
        tone = np.exp(rng.normal(0, 0.3, (count, 1, 1))).astype(np.float32)
        points = _strokes(start, reach @ turn, np.zeros_like(reach))
        column, row = (np.clip(p, 0, len(image) - 1).astype(int) for p in view.to_pixel(start))
        colours = 0.8 * dark * tone * how.key * 0.42 + 0.2 * image[row, column][:, None]
        draw(view, image, points, np.broadcast_to(colours, points.shape))

        count = int((18 + 16 * who.soft + 16 * who.makeup) * view.unit / 103)
        u = np.sort(rng.uniform(-0.11, 0.15, count)).astype(np.float32) * np.float32(who.eye)
        top, low = lids(u, who, how)
        x = (sign * (who.eye_gap + u)).astype(np.float32)
        size = (0.022 + 0.018 * who.soft + 0.016 * who.makeup) * rng.uniform(0.6, 1.1, count)
        fan = u / 0.14
        for edge, way, share in ((top, 1.0, 1.0), (low, -1.0, 0.42)):
            start = on_face(view, x, edge.astype(np.float32))
            reach = np.stack(
                [sign * size * (0.25 + 0.75 * fan), way * size * 0.35, size * 0.6], axis=-1
            )
            curve = np.stack([0 * u, way * size * 0.65, 0 * u], axis=-1)
            points = _strokes(
                start, (reach * share).astype(np.float32) @ turn, (curve * share).astype(np.float32)
            )
            black = np.broadcast_to(
                np.array([0.009, 0.006, 0.004], np.float32) + who.natural * 0.1, points.shape
            )
            keep = slice(None) if share == 1 else slice(None, None, 3)
            draw(view, image, points[keep], black[keep])


def beard(view: Surface, image: Floats, who: Person, how: Shot, rng: np.random.Generator) -> None:
    """Draw stubble, a moustache, a goatee or a full beard over `image`."""
    if who.beard == "none":
        return
    area = beard_area(view) * (view.cover > 0.9)
    x, y = np.abs(view.hx), view.hy
    if who.beard == "moustache":
        area = area * (y > -0.6) * (x < 0.26)
    elif who.beard == "goatee":
        area = area * (x < 0.27)
    scale = view.unit / 103
    count = int(
        {"stubble": 2600, "full": 3400, "goatee": 1800, "moustache": 900}[who.beard] * scale
    )
    weight = np.cumsum(area.ravel(), dtype=np.float64)
    if weight[-1] < 20:
        return
    pick: NDArray[np.int64] = np.searchsorted(weight, rng.random(count) * weight[-1]).clip(
        0, area.size - 1
    )
    pick = pick[np.argsort(-view.y.ravel()[pick], kind="stable")][::-1]
    start = np.stack([m.ravel()[pick] for m in (view.x, view.y, view.z)], axis=-1)
    normal = view.normal.reshape(-1, 3)[pick]
    hx = view.hx.ravel()[pick]
    size = {"stubble": 0.022, "full": 0.13, "goatee": 0.1, "moustache": 0.085}[who.beard]
    reach = (size * rng.uniform(0.5, 1.2, (count, 1))).astype(np.float32)
    above = (view.hy.ravel()[pick] > -0.56) & (np.abs(hx) < 0.25)
    way = np.stack(
        [hx * np.where(above, 4.0, 0.5), np.where(above, -0.55, -1.0), 0.25 + 0 * hx], axis=-1
    )
    way = (
        unit(way.astype(np.float32) + rng.normal(0, 0.25, (count, 3)).astype(np.float32))
        @ view.rotation.T
    )
    points = _strokes(start, reach * (way * 0.6 + normal * 0.6), reach * way * 0.5)
    base = tones(who, count, rng, rng.normal(0, 0.25, count), hair_=False) + np.float32(0.004)
    if who.beard == "stubble":
        base = base * 0.6 + who.skin * 0.12
    facing = np.clip(0.35 + 0.65 * (normal @ how.light), 0.12, 1) * (
        0.35 + 0.65 * view.lit.ravel()[pick]
    )
    light = how.key * (0.6 * facing)[:, None] + how.sky * 0.4
    along = np.linspace(0.55, 1.15, 5, dtype=np.float32)[None, :, None]
    draw(view, image, points, (base * light[:, None] * along).astype(np.float32))
