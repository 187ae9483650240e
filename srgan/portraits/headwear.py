"""Knitted caps and head scarves, drawn yarn by yarn over the head."""

from __future__ import annotations

import numpy as np

from srgan.portraits.geometry import Surface
from srgan.portraits.hair import push
from srgan.portraits.strands import draw
from srgan.portraits.traits import Floats, Person, Shot


def _light(points: Floats, colour: Floats, how: Shot, weave: Floats) -> Floats:
    """Colours [s, t, 3] of cloth at world `points`; `weave` [s, t] lightens and darkens it."""
    down = np.gradient(points, axis=1)
    across = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    normal = np.cross(across, down)
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True)) + 1e-7
    out = points - np.array([0, 0, -0.3], np.float32)
    normal *= np.sign((normal * out).sum(-1, keepdims=True))
    facing = np.clip(0.25 + 0.75 * (normal @ how.light), 0, 1)
    sky = (0.5 + 0.5 * normal[..., 1])[..., None]
    rim = np.clip(normal[..., 0] * how.rim_side, 0, 1) ** 3 * 0.3
    light = how.key * (0.45 * facing)[..., None] + how.sky * sky + how.ground * (1 - sky)
    light = (light + how.rim * rim[..., None]) * (1 + weave)[..., None]
    return np.asarray(colour * light, np.float32)


def _over(view: Surface, image: Floats, world: Floats, colours: Floats) -> None:
    order = np.argsort(world[..., 2].mean(1), kind="stable")
    depth = np.where(view.cover > 0.5, view.z - 0.09, -9).astype(np.float32)
    draw(view, image, world[order], colours[order], depth=depth)


def cap(view: Surface, image: Floats, who: Person, how: Shot) -> None:
    """Draw a ribbed knitted cap with a folded brim."""
    count = int(1000 * view.unit / 103)
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False, dtype=np.float32)[:, None]
    for low, high, thick, rows in ((0.12, 1.0, 0.07, 110.0), (0.02, 0.27, 0.11, 60.0)):
        t = np.linspace(0, 1, 26, dtype=np.float32)[None]
        rise = (low + (high - low) * t) * np.float32(np.pi / 2)
        lift = 0.14 * np.cos(turn) * (1 - t * (high > 0.5))
        puff = 1 if high > 0.5 else 1 + 0.035 * np.sin(np.pi * t)
        ring = np.cos(rise) * puff
        x = (0.69 * who.head + thick) * ring * np.sin(turn)
        y = 0.3 + (0.78 + thick) * np.sin(rise) + lift
        z = -0.16 + (0.84 + thick) * ring * np.cos(turn)
        world = view.to_world(np.stack([x, y, z], axis=-1).astype(np.float32))
        ribs = np.sin(turn * (48 if high > 0.5 else 40))
        weave = 0.2 * ribs + 0.16 * np.sin(t * rows + 1.6 * np.abs(ribs)) * (ribs > -0.4)
        shade = 1 if high < 0.5 else np.minimum(1, 0.35 + 2.2 * t)
        colours = _light(world, who.wrap_colour, how, (1 + weave) * shade - 1)
        _over(view, image, world, colours)


def scarf(view: Surface, image: Floats, who: Person, how: Shot) -> None:
    """Draw a cloth wrapped around the head, leaving the face free."""
    count = int(1700 * view.unit / 103)
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False, dtype=np.float32)[:, None]
    t = np.linspace(0, 1, 24, dtype=np.float32)[None]
    side, top = np.sin(turn), np.cos(turn)
    rim = np.stack(
        [0.565 * who.head * side, np.where(top > 0, 0.66 * top - 0.05, 0.98 * top - 0.05),
         np.where(top > 0, 0.2 + 0.42 * top, 0.2 + 0.26 * top**2)], axis=-1,
    )  # fmt: skip
    back = np.stack([0.3 * side, 0.1 + 0.6 * top, -0.95 + 0 * side], axis=-1)
    points = rim + (back - rim) * t[..., None]
    flat = points.reshape(-1, 3).astype(np.float32)
    thick = np.broadcast_to(0.03 + 0.06 * np.minimum(t * 5, 1), points.shape[:2]).reshape(-1, 1)
    flat = push(flat, (0, 0.28, -0.16), np.array([0.69 * who.head, 0.74, 0.84]) + thick)
    flat = push(flat, (0, -0.2, 0.06), np.array([0.6 * who.head, 0.82, 0.64]) + thick * 0.7)
    flat = push(flat, (0, -0.02, -0.14), np.array([0.68 * who.head, 1.08, 0.78]) + thick * 0.9)
    points = flat.reshape(points.shape)
    pleat = np.sin(turn * 3 + t * 5 + who.key) * 0.5 + np.sin(turn * 7 - t * 6) * 0.35
    points = points * (1 + (0.02 * pleat * np.minimum(t * 4, 1))[..., None])
    world = view.to_world(points.astype(np.float32))
    weave = 0.07 * np.sin(turn * 260) * np.sin(t * 95) + 0.12 * pleat
    hem = 1 - 0.3 * np.exp(-(((t - 0.05) / 0.02) ** 2)) - 0.25 * (t < 0.015)
    colours = _light(world, who.wrap_colour, how, (1 + weave) * hem - 1)
    _over(view, image, world, colours)
