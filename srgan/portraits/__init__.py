"""Small shaded portraits, rendered from numbers alone, for training without any data set.

A head and shoulders are ray-marched from a signed distance field, skin, eyes, mouth and clothes
are painted in the head's own frame, and hair is drawn strand by strand.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.portraits import features, hair, headwear, setting, skin, strands, traits
from srgan.portraits.geometry import Figure

__all__ = ["render", "write_image_set"]

# Sets with different seeds share neither people nor shots.
_STRIDE = 1_000_003


def render(seed: int, *, person: int, size: int = 160) -> NDArray[np.uint8]:
    """One photograph of one made-up person.

    `person` (0 or more) fixes who it is: face, skin, hair, beard, whether they own glasses.
    `seed` (0 or more) fixes the shot: pose, expression, light, backdrop, clothes, camera. `size`
    is the side in pixels, 32 to 1024. Returns uint8 RGB of shape [size, size, 3]. A pure
    function: the same arguments always give the same image.

    Raises ValueError if an argument is out of range.
    """
    if seed < 0 or person < 0:
        raise ValueError(f"seed and person must be 0 or more, not {seed} and {person}")
    if not 32 <= size <= 1024:
        raise ValueError(f"size must be 32 to 1024 pixels, not {size}")
    who = traits.person(person)
    how = traits.shot(seed, who)
    rng = np.random.Generator(np.random.PCG64([seed, person]))
    n = 2 * size
    view = Figure(who, how).look(n)

    coat = skin.skin(view, who, how, rng)
    features.mouth(view, coat, who, how)
    glints = features.eyes(view, coat, who, how)
    hair.scalp(view, coat, who, rng)
    setting.clothes(view, coat, who, how, rng)
    lit = skin.shade(view, coat, how)
    for where, light in glints:
        lit[where] += light

    scene = setting.backdrop(how, n, rng)
    locks, covered = hair.hair(view, scene, who, how, rng)
    scene += (lit - scene) * view.cover[..., None]
    strands.brows_and_lashes(view, scene, who, how, rng)
    strands.beard(view, scene, who, how, rng)
    if how.glasses:
        setting.glasses(view, scene, who, how)
    setting.earrings(view, scene, who, how)
    scene[covered] = locks[covered]
    if who.style == "beanie":
        headwear.cap(view, scene, who, how)
    elif who.style == "scarf":
        headwear.scarf(view, scene, who, how)
    return setting.expose(scene, how, rng)


def write_image_set(
    folder: Path,
    *,
    people: int,
    shots: int,
    seed: int = 0,
    size: int = 160,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Render `people` x `shots` portraits to `folder`/person-0001/shot-1.png and so on.

    Images that exist already are kept, so an interrupted run continues where it stopped; each
    image appears whole or not at all. `seed` shifts both who is shown and how; `workers` is the
    number of processes. `progress`, if given, is called with (images done, images in all).
    Returns the number of images of the set now present.

    Raises ValueError if `people` or `shots` is negative or `size` out of range, OSError if the
    folder cannot be written.
    """
    if people < 0 or shots < 0:
        raise ValueError(f"people and shots must be 0 or more, not {people} and {shots}")
    tell = progress or (lambda _done, _total: None)
    done, total = 0, people * shots
    missing: list[tuple[Path, int, int, int]] = []
    for number in range(1, people + 1):
        home = folder / f"person-{number:04d}"
        home.mkdir(parents=True, exist_ok=True)
        for left in home.glob(".shot-*.part"):
            left.unlink(missing_ok=True)
        for take in range(1, shots + 1):
            target = home / f"shot-{take}.png"
            if target.exists():
                done += 1
            else:
                shot, person = seed * _STRIDE + take, seed * _STRIDE + number
                missing.append((target, shot, person, size))
    tell(done, total)
    for _ in _each(missing, min(workers, len(missing))):
        done += 1
        tell(done, total)
    return done


def _each(missing: Sequence[tuple[Path, int, int, int]], workers: int) -> Iterator[None]:
    if workers <= 1:
        yield from map(_write_portrait, missing)
        return
    # Spawned: the caller may have threads, which a fork would copy in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_portrait, missing, chunksize=4)


def _write_portrait(job: tuple[Path, int, int, int]) -> None:
    target, seed, person, size = job
    part = target.with_name(f".{target.stem}.part")
    Image.fromarray(render(seed, person=person, size=size)).save(part, format="PNG")
    os.replace(part, target)
