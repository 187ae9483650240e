"""Who is in a portrait (a person's lasting traits) and how one shot of them is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SKIN = np.array(
    [
        (237, 199, 179), (229, 185, 161), (219, 172, 144), (202, 158, 129),
        (180, 135, 106), (147, 103, 78), (113, 77, 58), (82, 55, 44),
    ],
    np.float32,
)  # fmt: skip
HAIR = {
    "black": (27, 23, 22), "espresso": (48, 33, 25), "brown": (84, 57, 38),
    "chestnut": (112, 70, 42), "auburn": (112, 60, 40), "ginger": (168, 96, 54),
    "dark blonde": (158, 124, 82), "blonde": (212, 178, 124), "platinum": (230, 216, 190),
    "grey": (142, 140, 138), "silver": (205, 203, 200), "teal": (40, 118, 122),
    "rose": (190, 92, 118),
}  # fmt: skip
IRIS = {
    "dark brown": (62, 36, 20), "brown": (104, 62, 30), "hazel": (128, 98, 50),
    "green": (92, 118, 72), "blue": (88, 128, 168), "grey": (122, 136, 146),
}  # fmt: skip
SHORT_STYLES = ("crop", "quiff", "side part", "buzz", "curls", "afro", "bald", "messy", "beanie",
                "crop", "side part", "side part", "quiff")  # fmt: skip
LONG_STYLES = ("long", "waves", "bob", "curls", "afro", "bun", "fringe", "pulled back", "scarf",
               "long", "waves", "bob", "beanie")  # fmt: skip


def linear(rgb: tuple[float, ...] | Floats) -> Floats:
    """sRGB values in 0..255 as linear light in 0..1, shape unchanged."""
    scaled = np.asarray(rgb, np.float32) / 255
    return np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


@dataclass(frozen=True)
class Person:
    """Lasting traits. Lengths are in head units: the eyes at 0, the chin near -1."""

    tone: float
    skin: Floats
    hair: Floats
    natural: Floats
    iris: Floats
    style: str
    soft: float
    age: float
    head: float
    tall: float
    jaw: float
    chin: float
    cheek: float
    brow: float
    nose_width: float
    nose_length: float
    nose_height: float
    lips: float
    mouth: float
    eye: float
    eye_gap: float
    eye_tilt: float
    fold: float
    brow_weight: float
    brow_arch: float
    brow_dark: float
    ears: float
    neck: float
    curl: float
    length: float
    part: float
    grey: float
    beard: str
    freckles: float
    glasses: bool
    frame: int
    frame_colour: Floats
    earrings: int
    makeup: float
    wrap_colour: Floats
    key: int


@dataclass(frozen=True)
class Shot:
    """What changes from one photograph of a person to the next. Angles are in radians."""

    yaw: float
    pitch: float
    roll: float
    smile: float
    opening: float
    gaze: tuple[float, float]
    lids: float
    glasses: bool
    light: Floats
    key: Floats
    sky: Floats
    ground: Floats
    rim: Floats
    rim_side: float
    backdrop: str
    palette: Floats
    garment: str
    cloth: Floats
    cloth_two: Floats
    lipstick: Floats | None
    zoom: float
    shift: tuple[float, float]
    exposure: float
    balance: Floats
    grain: float
    vignette: float
    contrast: float


def _hsv(hue: float, saturation: float, value: float) -> Floats:
    channel = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    rgb = value - value * saturation * np.clip(np.minimum(channel, 4 - channel), 0, 1)
    return linear((rgb * 255).astype(np.float32))


def _skin(rng: np.random.Generator) -> tuple[float, Floats]:
    tone = float(rng.uniform(0, 7))
    below = min(int(tone), 6)
    colour = SKIN[below] + (SKIN[below + 1] - SKIN[below]) * (tone - below)
    warmth = rng.normal(0, 3)
    return tone, linear(np.clip(colour + np.array([1, 0, -1]) * warmth, 20, 250).astype(np.float32))


def _hair_colour(rng: np.random.Generator, tone: float, age: float) -> str:
    if age > 0.62 and rng.random() < 0.75:
        return "silver" if rng.random() < 0.5 else "grey"
    if rng.random() < 0.035:
        return "teal" if rng.random() < 0.5 else "rose"
    light = ("black", "black", "espresso", "espresso", "brown", "brown", "chestnut", "auburn",
             "ginger", "dark blonde", "blonde", "platinum")  # fmt: skip
    middle = ("black", "espresso", "espresso", "brown", "chestnut", "dark blonde")
    deep = ("black", "black", "black", "espresso", "brown")
    pool = light if tone < 2 else middle if tone < 4 else deep
    return pool[int(rng.integers(len(pool)))]


def _iris(rng: np.random.Generator, tone: float) -> Floats:
    names = tuple(IRIS)
    low, high = (1, 6) if tone < 2 else (0, 4) if tone < 4 else (0, 2)
    return linear(IRIS[names[int(rng.integers(low, high))]])


def person(key: int) -> Person:
    """The traits of one person, the same for every shot of them."""
    rng = np.random.Generator(np.random.PCG64([7919, key]))
    soft = float(np.clip(rng.choice([0.2, 0.8]) + rng.normal(0, 0.16), 0, 1))
    age = float(rng.beta(1.3, 1.9))
    tone, skin = _skin(rng)
    styles = LONG_STYLES if rng.random() < 0.12 + 0.76 * soft else SHORT_STYLES
    style = styles[int(rng.integers(len(styles)))]
    if style == "bald" and rng.random() > 0.3 + 0.5 * age:
        style = "buzz"
    colour = _hair_colour(rng, tone, age)
    natural = HAIR["brown" if colour in ("teal", "rose") else colour]
    kinds = ("none", "none", "stubble", "stubble", "full", "goatee", "moustache", "full")
    beard = kinds[int(rng.integers(len(kinds)))] if soft < 0.42 else "none"

    def near(mean: float, spread: float) -> float:
        return float(mean + np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))

    return Person(
        tone=tone, skin=skin, hair=linear(HAIR[colour]), natural=linear(natural),
        iris=_iris(rng, tone), style=style, soft=soft, age=age, head=near(1.0, 0.04),
        tall=near(1.0, 0.025), jaw=near(1.06 - 0.17 * soft, 0.075),
        chin=near(1.03 - 0.1 * soft, 0.05), cheek=near(1.0, 0.12),
        brow=near(1.15 - 0.5 * soft, 0.1),
        nose_width=near(0.95 + 0.035 * tone - 0.1 * soft, 0.08), nose_length=near(1.0, 0.06),
        nose_height=near(1.06 - 0.025 * tone - 0.05 * soft, 0.07),
        lips=near(0.86 + 0.05 * tone + 0.18 * soft - 0.15 * age, 0.1), mouth=near(1.0, 0.06),
        eye=near(1.05 + 0.09 * soft, 0.05), eye_gap=near(0.288, 0.009), eye_tilt=near(0.05, 0.05),
        fold=float(np.clip(rng.normal(0.8, 0.3), 0.15, 1)),
        brow_weight=near(1.15 - 0.35 * soft, 0.15),
        brow_arch=near(0.5 + 0.5 * soft, 0.25), brow_dark=near(0.62, 0.1), ears=near(1.0, 0.08),
        neck=near(1.07 - 0.22 * soft, 0.04),
        curl=float(rng.random()), length=float(rng.random()),
        part=float(rng.choice([-0.28, -0.2, 0.0, 0.2, 0.28])), grey=max(0.0, age - 0.45) * 0.6,
        beard=beard, freckles=float(rng.random() ** 2 * (1.0 if tone < 2.5 else 0.25)),
        glasses=bool(rng.random() < 0.33), frame=int(rng.integers(4)),
        frame_colour=linear(
            [(20, 19, 20), (70, 42, 24), (120, 104, 70), (58, 62, 70), (120, 34, 40)][
                int(rng.integers(5))
            ]
        ),
        earrings=int(rng.integers(1, 4)) if rng.random() < 0.1 + 0.5 * soft else 0,
        makeup=float(rng.random() * max(0.0, soft - 0.4) * 1.6),
        wrap_colour=_hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.8)), key=key,
    )  # fmt: skip


def shot(seed: int, who: Person) -> Shot:
    """One way of photographing `who`: pose, expression, light, setting, clothes and camera."""
    rng = np.random.Generator(np.random.PCG64([104729, seed, who.key]))
    yaw, pitch, roll = np.clip(rng.normal(0, (0.24, 0.07, 0.055)), -0.5, 0.5)
    side = 1.0 if rng.random() < 0.5 else -1.0
    azimuth, height = side * rng.uniform(0.25, 1.1), rng.uniform(0.2, 0.85)
    light = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    warmth = rng.normal(0.03, 0.09)
    key = np.array([1 + warmth, 1.0, 1 - 1.3 * warmth]) * rng.uniform(1.9, 2.5)
    fill = rng.uniform(0.25, 0.6)
    smile = float(np.clip(rng.normal(0.42, 0.38), -0.06, 1.0))
    opening = float(max(0.0, rng.normal(0.4, 0.45))) if smile > 0.35 else 0.0
    if smile <= 0.35 and rng.random() < 0.12:
        opening = 0.35
    hue, spread = rng.random(), rng.normal(0, 0.12)
    backdrops = ("studio", "bokeh", "garden", "room", "window", "sky", "dusk")
    garments = ("tee", "knit", "vee", "turtleneck", "shirt", "blazer", "stripes", "hoodie", "plaid")
    cloth = _hsv(rng.random(), rng.uniform(0.03, 0.55), rng.uniform(0.15, 0.72))
    lips = _hsv(rng.normal(0.98, 0.025) % 1, rng.uniform(0.5, 0.8), rng.uniform(0.45, 0.75))
    return Shot(
        yaw=float(yaw), pitch=float(pitch), roll=float(roll), smile=smile,
        opening=min(opening, 1.0),
        gaze=(float(rng.normal(-0.5 * yaw, 0.2)), float(rng.normal(0, 0.15))),
        lids=float(np.clip(rng.normal(1.0, 0.1) - 0.2 * max(smile, 0), 0.6, 1.2)),
        glasses=who.glasses and rng.random() < 0.8, light=light.astype(np.float32),
        key=key.astype(np.float32),
        sky=(fill * np.array([0.92, 1.0, 1.12])).astype(np.float32),
        ground=(fill * 0.6 * np.array([1.1, 0.98, 0.85])).astype(np.float32),
        rim=(rng.uniform(0, 1.6) ** 2 * np.array([1.0, 0.97, 0.92])).astype(np.float32),
        rim_side=-side, backdrop=backdrops[int(rng.integers(len(backdrops)))],
        palette=np.stack(
            [
                _hsv((hue + spread * i) % 1, rng.uniform(0.05, 0.42), rng.uniform(0.4, 0.9))
                for i in range(4)
            ]
        ),
        garment=garments[int(rng.integers(len(garments)))], cloth=cloth,
        cloth_two=_hsv(rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.6, 0.95)),
        lipstick=lips if rng.random() < who.makeup else None,
        zoom=float(rng.uniform(1.0, 1.1)),
        shift=(float(rng.normal(0, 0.04)), float(rng.normal(0, 0.025))),
        exposure=float(rng.uniform(0.84, 1.06) * (0.86 + 0.055 * who.tone)),
        balance=(1 + rng.normal(0, 0.025) * np.array([1, 0, -1])).astype(np.float32),
        grain=float(rng.uniform(0.002, 0.007)), vignette=float(rng.uniform(0.05, 0.35)),
        contrast=float(rng.uniform(0.0, 0.35)),
    )  # fmt: skip
