"""Heads of hair: thousands of thin strands, grown over the head and lit one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srgan.portraits.geometry import PIVOT, Surface
from srgan.portraits.skin import ALL, Coat, noise
from srgan.portraits.strands import draw, tones, unit
from srgan.portraits.traits import Floats, Person, Shot

CENTRE = np.array([0.0, 0.28, -0.16], np.float32)
NODES = 18


@dataclass(frozen=True)
class Style:
    """How a head of hair grows: lengths in head units, the rest as shares of 0..1."""

    length: float
    lift: float
    comb: str
    weight: float
    thick: float
    curl: float = 0.0
    turns: float = 0.0
    clump: float = 0.5
    frizz: float = 0.012


STYLES = {
    "crop": Style(0.26, 0.35, "forward", 0.25, 0.06, clump=0.5),
    "messy": Style(0.42, 0.6, "forward", 0.3, 0.1, 0.02, 1.3, 0.7, 0.02),
    "quiff": Style(0.42, 0.75, "up", 0.2, 0.06, clump=0.7),
    "side part": Style(0.52, 0.3, "part", 0.3, 0.06, clump=0.6),
    "long": Style(1.75, 0.22, "part", 0.75, 0.08, 0.012, 1.0, 0.6),
    "waves": Style(1.6, 0.3, "part", 0.7, 0.11, 0.055, 2.6, 0.75, 0.016),
    "bob": Style(1.1, 0.28, "part", 0.75, 0.1, 0.01, 0.7, 0.55),
    "fringe": Style(1.4, 0.22, "part", 0.75, 0.08, 0.012, 0.8, 0.55),
    "curls": Style(0.75, 0.75, "part", 0.35, 0.12, 0.05, 4.5, 0.8, 0.02),
    "afro": Style(0.4, 1.0, "out", 0.03, 0.02, 0.026, 4.5, 0.3, 0.02),
    "bun": Style(0.7, 0.02, "back", 0.05, 0.035, clump=0.5, frizz=0.006),
    "pulled back": Style(0.8, 0.04, "back", 0.2, 0.04, 0.008, 1.5, 0.6, 0.008),
    "buzz": Style(0.04, 0.5, "forward", 0.0, 0.01, clump=0.0, frizz=0.004),
}


def hairline(x: Floats, z: Floats, who: Person) -> Floats:
    """The height above which a scalp grows hair, from head-frame `x` and `z` of its points."""
    line = np.interp(
        z, (-0.6, -0.3, -0.12, 0.04, 0.14, 0.34, 0.5, 0.66),
        (-0.5, -0.3, -0.05, 0.02, 0.3, 0.46, 0.6, 0.62),
    )  # fmt: skip
    receding = max(0.0, who.age - 0.3) * (1 - who.soft) * 0.35
    peak = np.exp(-(((np.abs(x) - 0.33) / 0.15) ** 2))
    return np.asarray(line + (receding * (0.4 + peak) + 0.02 * who.soft) * (z > 0.2), np.float32)


def scalp(view: Surface, coat: Coat, who: Person, rng: np.random.Generator) -> None:
    """Darken the skin that hair will cover, so that gaps between strands read as shade."""
    amount = 0.15 if who.style == "bald" else 0.9
    n = view.x.shape[0]
    above = view.hy - hairline(view.hx, view.hz, who) + 0.02 * noise(rng, n, n // 6)
    mask = np.clip(above / 0.07, 0, 1) * view.head * (np.abs(view.hx) < 0.69) * amount
    if who.style not in ("bald", "buzz"):
        near = np.exp(-np.clip(-above, 0, 1) / 0.06) * view.head
        coat.tint(ALL, near * 0.45, np.array([0.62, 0.5, 0.46], np.float32))
    if who.style == "scarf":
        rim = np.hypot(view.hx / (0.55 * who.head), (view.hy + 0.17) / 0.79)
        coat.blend(ALL, np.clip((rim - 1) * 20, 0, 1) * view.head, who.wrap_colour * 0.8)
        coat.gloss *= 1 - 0.8 * (rim > 1)
        return
    coat.blend(ALL, mask, who.hair * 0.55 + 0.03 * who.skin)
    coat.gloss *= 1 - mask


def _comb(kind: str, p: Floats, part: float) -> Floats:
    x = p[:, 0]
    one = np.ones_like(x)
    away = np.tanh((x - part) * 7)
    if kind == "part":
        field = (1.2 * away, 0.15 * one, -0.25 * one)
    elif kind == "back":
        field = (-0.25 * x, 0.45 * one, -1.0 * one)
    elif kind == "forward":
        field = (0.35 * np.tanh(x * 3 + part * 4), -0.15 * one, 1.0 * one)
    elif kind == "up":
        top = np.clip((p[:, 1] - 0.62) / 0.15, 0, 1)
        field = (part * top, 1.1 * top - 0.6 * (1 - top), 0.25 * top - 0.7 * (1 - top))
    else:
        return unit(p - CENTRE)
    return np.stack(field, axis=-1).astype(np.float32)


def push(p: Floats, centre: tuple[float, ...], radii: Floats, on: Floats | None = None) -> Floats:
    """Points [s, 3] moved out of an ellipsoid; `on` [s], if given, names those it applies to."""
    c = np.array(centre, np.float32)
    q = (p - c) / radii
    k = np.sqrt((q * q).sum(-1, keepdims=True)) + 1e-5
    inside = k < 1 if on is None else (k < 1) & (on[:, None] > 0)
    return np.where(inside, c + (p - c) / k, p)


def _drape(p: Floats, thick: Floats) -> Floats:
    """Points moved straight forward, or back, out of the shoulders."""
    across = (p[:, 0] / 1.42) ** 2 + ((p[:, 1] + 2.24) / (1.0 + thick)) ** 2
    deep = (0.66 + thick) * np.sqrt(np.clip(1 - across, 0, 1))
    z = p[:, 2] + 0.3
    moved = np.where(np.abs(z) < deep, np.where(z > -0.15, deep, -deep), z) - 0.3
    return np.stack([p[:, 0], p[:, 1], moved], axis=-1).astype(np.float32)


def _grow(who: Person, style: Style, view: Surface, rng: np.random.Generator, count: int) -> Floats:
    """Guide strands [g, NODES, 3] in the head frame."""
    index = np.arange(2 * count, dtype=np.float32) + 0.5
    high = 1 - index / count
    ring = np.sqrt(1 - high * high)
    turn = index * np.float32(2.3999632) + np.float32(rng.uniform(0, 6.28))
    even = np.stack([ring * np.cos(turn), high, ring * np.sin(turn)], axis=-1)
    aim = unit(even + rng.normal(0, 0.03, even.shape).astype(np.float32))
    root = CENTRE + aim * np.array([0.69 * who.head, 0.74, 0.84], np.float32)
    keep = root[:, 1] > hairline(root[:, 0], root[:, 2], who)
    root, out = root[keep], unit(np.asarray(aim[keep] / (0.69, 0.74, 0.84), np.float32))
    g = len(root)
    depth = rng.random((g, 1), np.float32) ** 0.7
    fringe = np.zeros(g, np.float32)
    if who.style == "fringe":
        fringe = ((root[:, 2] > 0.25) & (root[:, 1] > 0.55) & (np.abs(root[:, 0]) < 0.5)).astype(
            np.float32
        )
    free = 1 - fringe
    length = (
        style.length * (0.85 + 0.3 * who.length) * (0.8 + 0.25 * rng.random((g, 1), np.float32))
    )
    if who.style in ("quiff", "crop", "side part", "messy"):
        length *= 0.35 + 0.65 * np.clip((root[:, 1:2] - 0.3) / 0.4, 0, 1)
    if who.style == "bob":
        length *= 0.9 + 0.1 * free[:, None]
    length = np.where(fringe[:, None] > 0, 0.5 + 0.12 * who.length, length)
    step = length / (NODES - 1)
    down = (view.rotation.T @ np.array([0, -1, 0], np.float32)).astype(np.float32)
    jitter = rng.standard_normal((g, 3), np.float32) * 0.12
    path = np.empty((g, NODES, 3), np.float32)
    p = root + out * 0.012
    comb: Floats = _comb(style.comb, root, who.part) + jitter
    comb[fringe > 0] = np.array([0, -0.3, 1], np.float32) + jitter[fringe > 0] * 0.5
    comb = unit(comb - (comb * out).sum(-1, keepdims=True) * out)
    d = unit(comb * (1 - style.lift) + out * style.lift)
    skin = np.array([0.69 * who.head, 0.74, 0.84], np.float32) + 0.015 + style.thick * depth
    jowl = np.array([0.6 * who.head, 0.8, 0.62], np.float32) + 0.01 + style.thick * depth
    for i in range(NODES):
        path[:, i] = p
        t = i / NODES
        gone = t * style.length
        pull = style.weight * (0.35 + 1.6 * min(1.0, gone / 0.35))
        steer = 0.3 * max(0.0, 1 - gone / 0.35) if style.comb != "out" else 0.0
        d = unit(d + pull * down + steer * comb)
        d[:, 0] -= 0.14 * p[:, 0] * (p[:, 1] < -0.25)
        q: Floats = p + d * step
        grown = np.minimum(1.0, (i + 1) * 0.25)
        q = push(q, (0, 0.28, -0.16), skin * grown + (1 - grown) * (skin - style.thick * depth))
        q = push(q, (0, -0.2, 0.06), jowl)
        q = push(q, (0, -0.22, 0.8), np.array([0.585 * who.head, 0.78, 0.62], np.float32), free)
        if style.comb == "part":
            for ear in (-0.66, 0.66):
                q = push(q, (ear, -0.12, -0.04), np.array([0.09, 0.28, 0.18], np.float32))
        q = push(q, (0, -1.1, -0.22), np.array([0.41, 0.8, 0.42], np.float32) + 0.05 * depth)
        q = _drape(q, 0.04 + 0.05 * depth[:, 0])
        p = q
    return path


def _refine(path: Floats, style: Style) -> Floats:
    """Guides with enough nodes to follow the style's curls."""
    nodes = max(NODES, int(style.turns * 9))
    at = np.linspace(0, NODES - 1.001, nodes, dtype=np.float32)
    low = at.astype(np.int64)
    return path[:, low] + (path[:, low + 1] - path[:, low]) * (at - low)[None, :, None]


def _children(path: Floats, style: Style, rng: np.random.Generator, each: int) -> Floats:
    """Strands [g * each, NODES, 3] around their guides, clumped, curled and frizzy."""
    g = len(path)
    spread = 0.075 if style.length > 0.1 else 0.1
    offset = rng.standard_normal((g, each, 1, 3), np.float32) * spread
    out = unit(path[:, :1] - CENTRE)[:, None]
    offset -= (offset * out).sum(-1, keepdims=True) * out * 0.85
    path = _refine(path, style)
    t = np.linspace(0, 1, path.shape[1], dtype=np.float32)[:, None]
    strands = path[:, None] + offset * (1 - style.clump * t**0.6) * (0.35 + 0.65 * t**0.3)
    if style.curl:
        phase = rng.random((g, 1, 1, 1)) * 6.28 + rng.normal(0, 0.5, (g, each, 1, 1))
        turn = (phase + t * style.turns * 6.28 * rng.uniform(0.8, 1.2, (g, 1, 1, 1))).astype(
            np.float32
        )
        size = style.curl * np.minimum(t * 3, 1)
        out = unit(path - np.array([0, 0, -0.2], np.float32))[:, None]
        across = unit(np.cross(np.gradient(path, axis=1), out[:, 0]))[:, None]
        strands = strands + size * (np.cos(turn) * across + np.sin(turn) * out * 0.8)
    wander = np.cumsum(rng.standard_normal((g, each, len(t), 3), np.float32), axis=2)
    strands = strands + wander * (style.frizz * 0.25 * (NODES / len(t)))
    return np.asarray(strands.reshape(g * each, len(t), 3), np.float32)


def _lit(p: Floats, base: Floats, how: Shot, shine: float) -> Floats:
    """Colours [s, t, 3] of strands `p` [s, t, 3] in world coordinates, with two highlights."""
    tangent = unit(np.gradient(p, axis=1))
    out = p - np.array([0, 0.05, -0.2], np.float32)
    size = np.sqrt((out * out).sum(-1, keepdims=True)) + 1e-6
    out = out / size
    along = np.clip(tangent @ how.light, -1, 1)
    facing = out @ how.light
    diffuse = np.clip(0.3 + 0.7 * facing, 0, 1) * (0.45 + 0.55 * np.sqrt(1 - along * along))
    half = unit(how.light + np.array([0, 0, 1], np.float32))
    across = np.clip(tangent @ half, -1, 1)
    gate = np.clip(0.25 + facing, 0, 1)
    first = np.sqrt(1 - across * across) ** 55 * gate
    shifted = np.clip(across + 0.14, -1, 1)
    second = np.sqrt(1 - shifted * shifted) ** 22 * gate
    front = np.clip((p[..., 2] + 0.65) / 0.7, 0.22, 1)
    rim = np.clip(out[..., 0] * how.rim_side, 0, 1) ** 2 * np.clip(1 - out[..., 2], 0, 1) ** 2
    sky = 0.5 + 0.5 * out[..., 1]
    light = how.key * (0.5 * diffuse * front)[..., None]
    light = (
        light
        + (how.sky * sky[..., None] + how.ground * (1 - sky[..., None])) * (front * 0.65)[..., None]
    )
    light = light + how.rim * (rim * 0.8)[..., None]
    gleam = (first * 0.05 * shine)[..., None] + (second * 0.42 * shine)[..., None] * (base + 0.015)
    edge = (rim * 0.03)[..., None] * how.rim
    return np.asarray(base * light + gleam * how.key * front[..., None] + edge, np.float32)


def _seen(view: Surface, points: Floats, depth: Floats) -> NDArray[np.bool_]:
    """Which strands [s, t, 3] have a node in view and in front of `depth`."""
    n = depth.shape[0]
    column, row = view.to_pixel(points)
    within = (column > -9) & (column < n + 9) & (row > -9) & (row < n + 9)
    r, c = row.clip(0, n - 1).astype(np.int64), column.clip(0, n - 1).astype(np.int64)
    return np.asarray((within & (points[..., 2] > depth[r, c])).any(1))


def hair(
    view: Surface, scene: Floats, who: Person, how: Shot, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """The hair in front of the figure: colours [n, n, 3] and where they count, bool [n, n].

    Hair behind the figure's soft edge is drawn into `scene` [n, n, 3], the backdrop.
    """
    layer, mask = np.zeros_like(scene), np.zeros(scene.shape[:2], np.bool_)
    name = who.style
    if name == "beanie":
        name = "long" if who.soft > 0.5 else "buzz"
    style = STYLES.get(name)
    if style is None:
        return layer, mask
    n = view.x.shape[0]
    scale = n / 320
    guides, each = (int(330 * scale), 6) if style.length > 0.1 else (int(900 * scale), 6)
    path = _grow(who, style, view, rng, guides)
    strands = _children(path, style, rng, each)
    if who.style == "bun":
        strands = np.concatenate([strands, _bun(rng, int(700 * scale))])
    shared = np.repeat(rng.normal(0, 0.16, len(path)), each)
    shared = np.concatenate([shared, np.zeros(len(strands) - len(shared))])
    world = view.to_world(strands)
    out = np.linalg.norm(world - (CENTRE - PIVOT) @ view.rotation.T - PIVOT, axis=-1).mean(1)
    near = out + 0.5 * world[..., 2].mean(1)
    depth = np.where(view.cover > 0.5, view.z - 0.09, -9).astype(np.float32)
    locks = near[: len(path) * each].reshape(-1, each)
    locks[:] = locks.mean(1, keepdims=True) + 0.03 * (locks - locks.mean(1, keepdims=True))
    order = np.argsort(near, kind="stable")
    order = order[_seen(view, world[:, ::2], depth)[order]]
    world, shared = world[order], shared[order]
    rank = np.linspace(0.55, 1.1, len(order), dtype=np.float32)[:, None, None]
    colours = _lit(world, tones(who, len(order), rng, shared), how, 1.0) * rank
    from_root = np.linspace(0, 5, strands.shape[1], dtype=np.float32)[:, None]
    colours *= 0.72 + 0.28 * np.minimum(from_root, 1)
    below = len(world) // 3
    for part, wide in ((slice(0, below), True), (slice(below, None), False)):
        draw(
            view, layer, world[part], colours[part], depth=depth, behind=scene, mask=mask, wide=wide
        )
    return layer, mask


def _bun(rng: np.random.Generator, count: int) -> Floats:
    centre = np.array([0.0, 1.05, -0.3], np.float32)
    turn = np.linspace(0, 4.5, NODES, dtype=np.float32) + 6.28 * rng.random((count, 1), np.float32)
    tilt = np.arcsin(rng.uniform(-1, 1, (count, 1))).astype(np.float32) + 0.25 * np.sin(turn * 1.5)
    size = 0.25 * (1 + 0.05 * rng.standard_normal((count, 1), np.float32))
    x, y = np.cos(turn) * np.cos(tilt), np.sin(tilt) * 0.85
    ball = np.stack([x, y, np.sin(turn) * np.cos(tilt)], axis=-1).astype(np.float32)
    return np.asarray(ball * size[..., None] + centre, np.float32)
