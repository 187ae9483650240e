"""Eyes, lips and teeth, drawn in the head's own frame so that they follow its pose."""

from __future__ import annotations

import numpy as np

from srgan.portraits.geometry import Surface
from srgan.portraits.skin import Coat, Window, spot
from srgan.portraits.traits import Floats, Person, Shot, linear


def lids(u: Floats, who: Person, how: Shot) -> tuple[Floats, Floats]:
    """Heights of the upper and lower lid edge at `u` head units outward from an eye's centre."""
    q = np.clip(np.abs(u + 0.012) / (0.142 * who.eye), 0, 1)
    r = np.clip(np.abs(u - 0.02) / (0.142 * who.eye), 0, 1)
    tilt = who.eye_tilt * u
    top = 0.068 * who.eye * how.lids * (1 - q**2.3) + tilt
    low = -0.044 * who.eye * (1 - 0.2 * max(how.smile, 0)) * (1 - r**2.2) + tilt
    return top, low


def eyes(view: Surface, coat: Coat, who: Person, how: Shot) -> list[tuple[Window, Floats]]:
    """Paint both eyes into `coat` and return their catch-lights as (window, [h, w, 3])."""
    lights = []
    for sign in (-1.0, 1.0):
        where = view.window((sign * who.eye_gap, 0, 0.6), 0.3)
        x, y = view.hx[where], view.hy[where]
        lights.append((where, _eye(coat, where, sign, x, y, view.unit, who, how)))
    return lights


def _eye(
    coat: Coat, where: Window, sign: float, x: Floats, y: Floats, unit: float, who: Person,
    how: Shot,
) -> Floats:  # fmt: skip
    u = sign * x - who.eye_gap
    top, low = lids(u, who, how)
    inside = np.clip(np.minimum(top - y, y - low) * unit + 0.5, 0, 1)
    inside *= np.clip((0.15 * who.eye - np.abs(u)) * unit, 0, 1)
    near = np.clip(1.35 - np.abs(u) / 0.16, 0, 1)

    crease = np.exp(-(((y - top * 1.15 - 0.035) / 0.012) ** 2)) * near * who.fold
    coat.tint(where, crease * 0.75, np.array([0.5, 0.38, 0.36], np.float32))
    coat.bump[where] -= crease * 0.006
    lid = np.exp(-(((y - top - 0.018) / 0.014) ** 2)) * near
    coat.bump[where] += lid * 0.006
    shadow = max(0.0, who.makeup - 0.15)
    coat.tint(where, lid * shadow, linear((150, 96, 104)) / linear((215, 170, 150)))
    bag = np.exp(-(((y - low + 0.035) / 0.012) ** 2)) * near
    coat.bump[where] -= bag * 0.004
    rim = np.exp(-(((y - low + 0.008) / 0.007) ** 2)) * near
    coat.tint(where, rim * 0.5, np.array([0.9, 0.68, 0.66], np.float32))

    white = np.empty((*x.shape, 3), np.float32)
    white[:] = linear((208, 198, 192))
    ball = np.clip(1 - (u / 0.17) ** 2 * 0.75 - (y / 0.13) ** 2 * 0.5, 0.2, 1)
    white *= ball[..., None]
    duct = spot(u, y, (-0.135, -0.008), (0.02, 0.02))[..., None]
    white += (linear((196, 118, 108)) - white) * duct * 0.8
    gx, gy = np.clip(how.gaze[0], -0.5, 0.5) * 0.06, how.gaze[1] * 0.04
    a, b = x - sign * who.eye_gap - gx, y - gy - 0.01
    radius = 0.068
    r = np.hypot(a, b) / radius
    angle = np.arctan2(b, a)
    fibre = np.sin(angle * 23 + 3 * np.sin(angle * 5)) * 0.5 + np.sin(angle * 41 + 9 * r) * 0.5
    iris = 0.85 * who.iris * (1 + (0.3 * fibre + 0.55 * (b < 0) * np.clip(r, 0, 1))[..., None])
    iris *= (1.15 - 0.8 * np.clip((r - 0.72) / 0.28, 0, 1))[..., None]
    iris[:] += np.exp(-(((r - 0.48) / 0.12) ** 2))[..., None] * who.iris * 0.5
    edge = radius * unit
    white += (iris - white) * np.clip((1 - r) * edge + 0.5, 0, 1)[..., None]
    white *= 1 - 0.97 * np.clip((0.42 - r) * edge + 0.5, 0, 1)[..., None]
    white *= (1 - 0.6 * np.clip(1 - (top - y) / 0.045, 0, 1))[..., None]
    coat.blend(where, inside, white)
    coat.gloss[where] *= 1 - inside
    coat.bump[where] *= 1 - inside

    thick = 0.007 + 0.009 * np.clip(u / 0.14 + 0.3, 0, 1) * (0.4 + 0.6 * who.soft + who.makeup)
    liner = np.clip((thick - np.abs(y - top - 0.004)) * unit * 0.7 + 0.4, 0, 1) * np.clip(
        near * 3, 0, 1
    )
    liner *= np.clip((0.15 * who.eye - np.abs(u)) * unit * 0.5 + 0.5, 0, 1)
    coat.blend(where, liner * (0.7 + 0.25 * who.soft), linear((34, 22, 18)))
    under = (
        np.clip((0.006 - np.abs(y - low)) * unit + 0.3, 0, 1) * near * np.clip(u * 8 + 0.6, 0, 1)
    )
    coat.blend(where, under * 0.55 * inside, linear((60, 38, 32)))

    h = (gx + how.light[0] * 0.03 + sign * who.eye_gap, gy + 0.01 + 0.012 + how.light[1] * 0.022)
    glint = np.clip((0.0155 - np.hypot(x - h[0], y - h[1])) * unit + 0.6, 0, 1)
    wet = 0.3 * spot(x - h[0], y - h[1], (0, 0), (0.035, 0.03)) * (r < 1)
    faint = 0.25 * np.clip(
        (0.012 - np.hypot(a + how.light[0] * 0.035, b + 0.03)) * unit + 0.5, 0, 1
    )
    amount = (glint + 0.25 * wet + faint) * inside
    return np.asarray(amount[..., None] * how.key * 0.42, np.float32)


def mouth(view: Surface, coat: Coat, who: Person, how: Shot) -> None:
    """Paint the lips, and behind parted ones the teeth and the dark of the mouth."""
    where = view.window((0, -0.57, 0.68), 0.42)
    x, y, unit = view.hx[where], view.hy[where], view.unit
    smile = how.smile
    half = 0.222 * who.mouth * (1 + 0.24 * max(smile, 0) - 0.1 * how.opening * (smile < 0.35))
    full = who.lips * (1 - 0.22 * max(smile, 0))
    q = np.abs(x) / half
    s = np.clip(1 - q * q, 0, 1)
    line = -0.575 + 0.075 * smile * np.minimum(q, 1.1) ** 2 - 0.02 * max(smile, 0)
    opening = how.opening * (0.05 if smile > 0.35 else 0.07)
    roof, floor = line + 0.4 * opening * s**0.7, line - opening * s**0.9
    bow = 1 + 0.28 * np.exp(-(((q - 0.26) / 0.16) ** 2)) - 0.1 * np.exp(-((q / 0.1) ** 2))
    top = roof + 0.062 * full * s**0.75 * bow
    low = floor - 0.083 * full * s**0.62
    within = np.clip((1 - q) * half * unit * 0.7 + 0.3, 0, 1)
    upper = np.clip(np.minimum(top - y, y - roof) * unit * 0.7 + 0.5, 0, 1) * within
    lower = np.clip(np.minimum(floor - y, y - low) * unit * 0.6 + 0.5, 0, 1) * within
    t = np.clip((y - roof) / (top - roof + 1e-4), 0, 1)
    v = np.clip((floor - y) / (floor - low + 1e-4), 0, 1)
    crinkle = np.sin(x * 190 + 2 * np.sin(x * 63)) * np.sin(x * 87 + 1)
    coat.bump[where] += upper * (0.045 * full * t * (1 - t) + 0.0012 * crinkle)
    coat.bump[where] += lower * (0.11 * full * v * (1 - v) + 0.0016 * crinkle)
    coat.bump[where] -= 0.006 * np.exp(-(((y - low + 0.02) / 0.018) ** 2)) * s
    pale = min(who.tone / 7, 1.0)
    natural = who.skin * (
        np.array([0.86, 0.52, 0.53], np.float32) + np.array([0, 0.12, 0.14], np.float32) * pale
    )
    colour = natural if how.lipstick is None else how.lipstick * 0.75 + natural * 0.25
    shade = 1 - 0.1 * crinkle * 0.6
    strength = 0.62 + 0.3 * who.soft if how.lipstick is None else 0.95
    coat.blend(where, upper * strength, (colour * 0.82) * shade[..., None])
    coat.blend(where, lower * strength, colour * shade[..., None])
    wet = 0.45 + 0.7 * (how.lipstick is not None)
    coat.gloss[where] += lower * wet * (0.5 + 0.5 * spot(x, v, (0, 0.4), (0.12, 0.2))) + upper * 0.2
    corner = spot(
        np.abs(x), y, (half, -0.575 + 0.075 * smile - 0.02 * max(smile, 0)), (0.022, 0.015)
    )
    coat.tint(where, corner * 0.8, np.array([0.42, 0.32, 0.32], np.float32))

    if opening > 0.004:
        gap = np.clip(np.minimum(roof - y, y - floor) * unit + 0.5, 0, 1) * within
        coat.blend(where, gap, _inside(x, y, roof, floor, smile, unit))
        coat.gloss[where] *= 1 - 0.8 * gap
        coat.bump[where] *= 1 - gap
    seam = (
        np.exp(-(((y - floor) / 0.009) ** 2)) * within
        if opening < 0.02
        else (np.exp(-(((y - roof) / 0.006) ** 2)) * within * 0.6)
    )
    coat.tint(where, seam * 0.85, np.array([0.28, 0.17, 0.17], np.float32))


def _inside(x: Floats, y: Floats, roof: Floats, floor: Floats, smile: float, unit: float) -> Floats:
    """Teeth, tongue and darkness between parted lips, [h, w, 3] albedo."""
    mouth_ = np.empty((*x.shape, 3), np.float32)
    mouth_[:] = linear((52, 20, 20))
    mouth_ += (linear((150, 76, 76)) - mouth_) * spot(x, y - floor, (0, 0.005), (0.07, 0.014))[
        ..., None
    ]
    bent = np.sign(x) * np.abs(x) ** 0.92 * 1.12
    pitch = 0.042
    cell = bent / pitch
    gap = np.abs(cell - np.round(cell))
    length = 0.058 - 0.006 * (np.abs(np.round(cell - 0.5) + 0.5) > 1) - 0.1 * x * x
    end = roof - (length if smile > 0.35 else 0.03) + 0.004 * (0.5 - gap) * 4
    tooth = np.clip((y - end) * unit + 0.5, 0, 1) * np.clip((0.19 - np.abs(x)) * unit, 0, 1)
    enamel = linear((228, 220, 206)) * (1 - 3.2 * x * x)[..., None]
    enamel = enamel * (1 - 0.4 * np.exp(-((gap / 0.07) ** 2)))[..., None]
    enamel = enamel * (0.62 + 0.38 * np.clip((roof - y) / 0.02, 0, 1))[..., None]
    return np.asarray(mouth_ + (enamel - mouth_) * tooth[..., None], np.float32)
