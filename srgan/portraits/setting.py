"""What surrounds a face: backdrop, clothes, glasses, jewellery, and the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srgan.portraits.geometry import PIVOT, Surface, upsample
from srgan.portraits.skin import Coat, noise, segment
from srgan.portraits.strands import draw
from srgan.portraits.traits import Floats, Person, Shot, linear

BACK = 112


def _blur(image: Floats, radius: int) -> Floats:
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float32)
        upper, lower = np.split(total, [2 * radius + 1], axis=axis)[1], total
        lower = np.take(total, np.arange(upper.shape[axis]), axis=axis)
        image = (upper - lower) / np.float32(2 * radius + 1)
    return image


def _discs(
    image: Floats, colours: Floats, rng: np.random.Generator, count: int, size: float, low: float
) -> None:
    m = image.shape[0]
    y, x = np.mgrid[0:m, 0:m].astype(np.float32)
    for _ in range(count):
        cx, cy = rng.uniform(0, m), rng.uniform(low * m, m)
        radius = size * m * rng.uniform(0.45, 1.25)
        r = np.hypot(x - cx, y - cy)
        disc = np.clip(radius - r, 0, 1) * (0.65 + 0.35 * np.clip(r / radius, 0, 1) ** 4)
        colour = colours[int(rng.integers(len(colours)))] + 0.05
        image += disc[..., None] * colour * rng.uniform(0.15, 0.9)


def backdrop(how: Shot, n: int, rng: np.random.Generator) -> Floats:
    """An out-of-focus scene, [n, n, 3] linear light."""
    m = BACK
    y, x = np.mgrid[0:m, 0:m].astype(np.float32) / m
    first, second = how.palette[:2]
    kind = how.backdrop
    cloud = noise(rng, m, 3, 3)[..., None]
    if kind == "studio":
        cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.7)
        glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.15, 0.5))[..., None]
        image = first * (0.25 + 1.0 * glow) * (1 + 0.05 * cloud)
    elif kind == "bokeh":
        image = first * (0.3 - 0.12 * y[..., None]) * (1 + 0.2 * cloud)
        warm = np.concatenate(
            [how.palette, linear(np.array([[255, 190, 110], [255, 225, 170]], np.float32))]
        )
        _discs(image, warm, rng, 26, 0.075, 0.0)
        image = _blur(image, 1)
    elif kind == "garden":
        leaf = linear(
            np.array([[70, 92, 52], [122, 140, 88], [38, 52, 36], [196, 204, 150]], np.float32)
        )
        grain = np.clip(0.5 + 0.4 * noise(rng, m, 7, 3), 0, 1.6)[..., None]
        image = leaf[2] + (leaf[1] - leaf[2]) * grain + np.clip(cloud, 0, 2) * leaf[0]
        _discs(image, leaf[3:], rng, 14, 0.06, 0.0)
        image = _blur(image * (1.25 - 0.6 * y[..., None]), 2)
    elif kind == "room":
        image = first * (0.75 - 0.3 * y[..., None]) + 0 * cloud
        for _ in range(9):
            left, top = rng.uniform(-0.1, 1, 2)
            wide, tall = rng.uniform(0.04, 0.35), rng.uniform(0.06, 0.5)
            box = (x > left) & (x < left + wide) & (y > top) & (y < top + tall)
            image[box] = how.palette[int(rng.integers(4))] * rng.uniform(0.25, 1.1)
        image = _blur(_blur(image, 3), 3)
    elif kind == "window":
        image = second * 0.8 * (1 - 0.4 * y[..., None]) + 0 * cloud
        left, wide = rng.choice([-0.1, 0.55]), rng.uniform(0.35, 0.5)
        pane = ((x - left) / wide % 0.5 > 0.03) & (y % 0.4 > 0.02) & (x > left) & (x < left + wide)
        image[pane & (y < 0.75)] = np.array([0.95, 1.0, 1.08], np.float32) * rng.uniform(0.7, 1.1)
        image = _blur(_blur(image * (1 + 0.06 * cloud), 3), 2)
    elif kind == "sky":
        blue = linear((92, 140, 200)) * (1 - y[..., None]) + linear((200, 218, 232)) * y[..., None]
        image = blue + np.clip(cloud * 0.25 + 0.05, 0, 0.7) * (1 - blue)
        hills = y > 0.72 + 0.06 * np.sin(x * 5 + rng.uniform(0, 6)) + 0.02 * cloud[..., 0]
        image[hills] = linear((86, 108, 70)) * 0.8
        image = _blur(image, 3)
    else:
        warm, cool = linear((240, 150, 90)), linear((60, 62, 110))
        image = cool + (warm - cool) * np.clip(y * 1.6 - 0.3, 0, 1)[..., None] * (1 + 0.1 * cloud)
        skyline = y > 0.66 + 0.1 * np.round(noise(rng, m, 9)[0] * 1.2)[None] * 0.6
        image[skyline] = linear((34, 32, 48))
        _discs(
            image,
            linear(np.array([[255, 190, 110], [255, 120, 80], [180, 210, 255]], np.float32)),
            rng,
            16,
            0.035,
            0.55,
        )
        image = _blur(image, 2)
    done = np.clip(image, 0, 1.6).astype(np.float32) * np.float32(0.85)
    planes = [upsample(np.ascontiguousarray(done[..., c]), n) for c in range(3)]
    return np.clip(np.stack(planes, axis=-1), 0, 2)


def clothes(view: Surface, coat: Coat, who: Person, how: Shot, rng: np.random.Generator) -> None:
    """Dress the shoulders in `coat`: the garment's cut, weave or knit, seams and folds."""
    n = view.x.shape[0]
    first = int(n * 0.6)
    rows = slice(first, n)
    where = (rows, slice(0, n))
    x, y = view.x[where], view.y[where]
    side, kind = np.abs(x), how.garment
    edge = {
        "vee": -1.72 + 1.5 * side, "turtleneck": -1.0 + 0.02 * np.sin(9 * x),
        "shirt": -1.55 + 1.15 * side, "plaid": -1.55 + 1.15 * side,
        "blazer": -1.42 + 1.0 * side, "hoodie": -1.3 + 1.3 * x * x,
    }.get(kind, -1.36 + 1.35 * x * x)  # fmt: skip
    inside = edge - y
    body = 1 - view.head[where]
    amount: Floats = np.clip(inside * view.unit + 0.5, 0, 1) * body
    shadow = np.exp(-np.clip(-inside, 0, 1) / 0.03) * body
    coat.tint(where, shadow * 0.7, np.array([0.62, 0.52, 0.5], np.float32))
    colour, bump, gloss = _fabric(x, y, inside, kind, how)
    if who.style == "scarf":
        drape = np.clip((y + 1.62 + 0.35 * np.cos(2.2 * x)) * view.unit * 0.5 + 0.5, 0, 1)
        colour += (who.wrap_colour - colour) * drape[..., None]
        pleats = np.sin((y - 0.5 * x * x + 0.15 * x) * 24) + 0.5 * np.sin((y + 0.4 * x) * 41)
        bump = np.asarray(bump + (0.03 * pleats - bump) * drape)
        colour *= (1 - 0.3 * np.exp(-(((drape - 0.5) / 0.3) ** 2)))[..., None]
        amount = body
    m = y.shape[0]
    folds = noise(rng, n, 7, 2)[:m] * 0.035
    coat.blend(where, amount, colour)
    coat.gloss[where] += (gloss - coat.gloss[where]) * amount
    coat.bump[where] += (bump + folds - coat.bump[where]) * amount


def _fabric(
    x: Floats, y: Floats, inside: Floats, kind: str, how: Shot
) -> tuple[Floats, Floats, float]:
    side = np.abs(x)
    colour = np.empty((*x.shape, 3), np.float32)
    colour[:] = how.cloth
    weave = np.sin(x * 150) * np.sin(y * 150)
    bump: Floats = 0.0025 * weave
    gloss = 0.1
    band = np.clip((0.075 - inside) / 0.01, 0, 1)
    if kind in ("knit", "turtleneck"):
        column = x * 15.5
        lean = np.abs(column - np.floor(column) - 0.5)
        stitch = np.sin((y + 0.06 * lean - 0.25 * x * x) * 125)
        ribs = np.sin(x * 68)
        bump = 0.011 * np.where(band > 0.5, ribs, stitch * 0.6 + (0.5 - 2 * lean))
        colour *= (1 + 0.14 * np.where(band > 0.5, ribs, stitch))[..., None]
        if kind == "turtleneck":
            roll = np.clip((0.2 - inside) / 0.01, 0, 1)
            bump = bump * (1 - roll) + roll * (
                0.012 * ribs + 0.05 * np.sin(np.clip(inside / 0.2, 0, 1) * 3.14)
            )
        return colour, bump, 0.04
    if kind == "stripes":
        stripe = np.clip(np.sin((y - 0.35 * x * x) * 52) * 6, -1, 1) * 0.5 + 0.5
        colour += (how.cloth_two - colour) * (stripe * (1 - band))[..., None]
    elif kind == "plaid":
        for across, share in ((x + 0.1 * y, 0.5), (y - 0.25 * x * x, 0.5)):
            for pitch, wide in ((26.0, 0.3), (26.0, -0.85)):
                line = np.clip((np.sin(across * pitch + (wide < 0) * 1.4) - abs(wide)) * 8, 0, 1)
                colour += (how.cloth_two * (0.3 if wide < 0 else 1.0) - colour) * (
                    line * share * 0.6
                )[..., None]
    elif kind == "hoodie":
        roll = np.clip((0.17 - inside) / 0.02, 0, 1)
        bump = bump + 0.09 * roll * np.sin(np.clip(inside / 0.17, 0, 1) * 3.14)
        string = np.exp(-(((side - 0.16 - 0.05 * (y + 1.4)) / 0.012) ** 2)) * (inside > 0.1)
        colour += (how.cloth_two - colour) * string[..., None]
        return colour * (1 + 0.05 * weave[..., None]), bump, 0.05
    elif kind == "blazer":
        opening = -1.85 + 1.75 * side - y
        shirt = np.clip(-opening / 0.01, 0, 1)
        lapel = np.clip((0.2 - opening) / 0.01, 0, 1) * (1 - shirt) * (y > -1.62)
        colour = colour * 0.4 + 0.004
        colour *= (1 + 0.25 * weave)[..., None]
        bump = bump + 0.03 * lapel - 0.02 * np.exp(-((opening / 0.015) ** 2))
        colour += (how.cloth_two - colour) * shirt[..., None]
    else:
        bump = bump - 0.008 * np.exp(-(((inside - 0.08) / 0.008) ** 2))
        colour *= (1 - 0.18 * band * (kind in ("tee", "vee")))[..., None]
    if kind in ("shirt", "plaid", "blazer"):
        flap = segment(side, y, (0.36, -1.08), (0.1, -1.44)) - 0.075
        bump = bump + 0.03 * np.clip(-flap / 0.03, 0, 1)
        crease = np.exp(-((flap / 0.012) ** 2))
        colour *= (1 - 0.45 * crease)[..., None]
        if kind != "blazer":
            colour *= (1 - 0.4 * np.exp(-(((x - 0.05) / 0.008) ** 2)) * (y < -1.45))[..., None]
            button = np.clip((0.02 - np.hypot(x, (y + 1.585))) * 90, 0, 1)
            colour += (how.cloth_two * 0.9 - colour) * button[..., None]
    return colour * (1 + 0.07 * weave)[..., None], bump, gloss


def glasses(view: Surface, image: Floats, who: Person, how: Shot) -> None:
    """Draw spectacles over the lit face: shadow, tinted lenses with reflections, frame, temples."""
    m = view.rotation
    plane = 0.77
    where = view.window((0, 0, 0.4), 0.85)
    image = image[where]
    wx, wy = view.x[where], view.y[where]
    a, b = wx - PIVOT[0], wy - PIVOT[1]
    c = (plane - PIVOT[2] - a * m[0, 2] - b * m[1, 2]) / m[2, 2]
    x = a * m[0, 0] + b * m[1, 0] + c * m[2, 0] + PIVOT[0]
    y = (a * m[0, 1] + b * m[1, 1] + c * m[2, 1] + PIVOT[1]) / view.tall
    side = np.abs(x)
    wide, tall, power, thick = (
        (0.205, 0.185, 2.0, 0.012), (0.215, 0.145, 5.0, 0.022),
        (0.215, 0.165, 3.0, 0.018), (0.22, 0.17, 2.6, 0.009),
    )[who.frame]  # fmt: skip
    u, v = side - 0.3, y - 0.01 + (0.12 * (side - 0.3) if who.frame in (1, 3) else 0.0)
    reach = (np.abs(u) / wide) ** power + (np.abs(v) / tall) ** power
    d = (reach ** (1 / power) - 1) * tall
    heavy = thick * (1 + 0.5 * np.clip(v / tall, 0, 1))
    rim = np.clip((heavy - np.abs(d)) * view.unit + 0.5, 0, 1)
    arch = np.abs(np.hypot(x, (y - 0.0) * 1.1) - 0.105)
    bridge = np.clip((thick - arch) * view.unit + 0.5, 0, 1) * (y > 0.035) * (side < 0.12)
    hinge = segment(side, y, (0.3 + wide, 0.06), (0.55, 0.06)) - thick
    frame = np.maximum(np.maximum(rim, bridge), np.clip(-hinge * view.unit + 0.5, 0, 1))
    for sign in (-1.0, 1.0):
        ends = view.to_world(
            np.array([[sign * 0.55, 0.06, plane], [sign * 0.69, 0.02, -0.05]], np.float32)
        )
        run = ends[1] - ends[0]
        t = np.clip(
            ((wx - ends[0, 0]) * run[0] + (wy - ends[0, 1]) * run[1]) / (run[:2] @ run[:2] + 1e-6),
            0,
            1,
        )
        gap = np.hypot(wx - ends[0, 0] - t * run[0], wy - ends[0, 1] - t * run[1])
        seen = (ends[0, 2] + t * run[2] > view.z[where] - 0.02) | (view.cover[where] < 0.5)
        frame = np.maximum(frame, np.clip((thick * 1.2 - gap) * view.unit + 0.5, 0, 1) * seen)
    drop = (int(view.unit * (0.03 + 0.05 * how.light[1])), int(-view.unit * 0.06 * how.light[0]))
    cast = np.roll(frame, drop, (0, 1)) * view.head[where] * 0.42
    image *= 1 - cast[..., None] * np.array([0.85, 1, 1], np.float32)
    lens = np.clip(-d * view.unit, 0, 1)
    band = np.exp(-(((u * 0.8 + v - 0.04 * how.light[0]) / 0.05) ** 2)) * np.clip(0.5 + v * 5, 0, 1)
    glow = lens * (0.018 + 0.1 * band)
    image *= 1 - 0.06 * lens[..., None]
    image += glow[..., None] * how.key * 0.5
    light = 0.35 + 0.5 * np.clip(v / tall * 0.5 + 0.5, 0, 1)
    glint = np.exp(-(((np.abs(d) - 0.25 * thick) / (0.35 * thick)) ** 2)) * (v > 0.3 * tall) * rim
    image += (who.frame_colour * how.key * light[..., None] - image) * frame[..., None]
    image += (glint * 0.14)[..., None] * how.key


def earrings(view: Surface, image: Floats, who: Person, how: Shot) -> None:
    """Draw studs, drops or hoops under the earlobes."""
    if not who.earrings or who.style in ("scarf",):
        return
    metal = linear((225, 186, 105)) if who.key % 2 else linear((205, 208, 214))
    depth = np.where(view.cover > 0.5, view.z - 0.12, -9).astype(np.float32)
    for sign in (-1.0, 1.0):
        lobe = np.array([sign * 0.655 * who.head, -0.33, 0.0], np.float32)
        turn = np.linspace(0, 6.283, 40, dtype=np.float32)
        size = (0.022, 0.03, 0.085)[who.earrings - 1]
        drop = (0.0, 0.09, 0.09)[who.earrings - 1]
        shells = np.linspace(0.82, 1, 4) if who.earrings == 3 else np.linspace(0, 1, 6)
        ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
        points = lobe + np.array([0, -drop, 0.03]) + ring[None] * size * shells[:, None, None]
        shine = 0.35 + 1.3 * np.clip(ring @ how.light, 0, 1) ** 3
        tone = metal * how.key * 0.5 * np.broadcast_to(shine[None, :, None], (*points.shape[:2], 1))
        draw(
            view,
            image,
            view.to_world(points.astype(np.float32)),
            tone.astype(np.float32),
            depth=depth,
        )


def expose(image: Floats, how: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light [2 s, 2 s, 3] as a developed [s, s, 3] photograph."""
    s = image.shape[0] // 2
    small = image
    for axis in (0, 1):
        padded = np.pad(small, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        outer, inner = np.arange(0, 2 * s, 2), np.arange(1, 2 * s, 2)
        small = 0.125 * (padded.take(outer, axis) + padded.take(outer + 3, axis))
        small += 0.375 * (padded.take(inner, axis) + padded.take(inner + 1, axis))
    y, x = np.mgrid[0:s, 0:s].astype(np.float32) / s - 0.5
    small *= (how.balance * how.exposure) * (1 - how.vignette * 1.6 * (x * x + y * y))[..., None]
    noise_ = rng.standard_normal((s, s, 3), np.float32) * 0.6 + rng.standard_normal(
        (s, s, 1), np.float32
    )
    small = np.maximum(small, 0)
    mapped = small * (2.51 * small + 0.03) / (small * (2.43 * small + 0.59) + 0.14)
    value = np.clip(mapped, 0, 1) ** (1 / 2.2)
    value += how.contrast * 0.35 * (value - 0.5) * value * (1 - value) * 4
    value += noise_ * how.grain * (0.6 + 0.8 * (1 - value))
    return np.asarray(np.clip(value * 255 + 0.5, 0, 255), np.uint8)
