"""Weights that come with no package: what they are, where they are looked for, and their sha256.

A file is looked for in the folder that ``SRGAN_WEIGHTS`` names, then in
``~/.cache/srgan/weights``. A file with another sha256 is refused: figures from unknown weights
would bear the name of the known ones.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan import storage
from srgan.errors import ModelError

ENVIRONMENT = "SRGAN_WEIGHTS"


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that the project knows.

    ``.npz``: NumPy arrays by name, convolutions in HWIO; ``.onnx``: a whole network.
    """

    name: str
    purpose: str
    source: str
    licence: str
    sha256: str


WEIGHTS: Mapping[str, WeightsFile] = {
    file.name: file
    for file in (
        WeightsFile(
            "lpips_alex.npz",
            "the metric lpips_alex: AlexNet's convolutions conv1..conv5 and the heads lin1..lin5",
            "LPIPS v0.1, github.com/richzhang/PerceptualSimilarity; AlexNet of torchvision",
            "BSD-2-Clause",
            "8245880b91d52c4172ca7b97643244f900291d315155ad942f66605e06e4a9f7",
        ),
        WeightsFile(
            "vgg16_conv_lpips.npz",
            "perceptual losses over VGG16 and lpips_vgg: convB_J/kernel, convB_J/bias and the "
            "heads lin1..lin5",
            "LPIPS v0.1, github.com/richzhang/PerceptualSimilarity; VGG16 of torchvision",
            "BSD-2-Clause",
            "a7f2dca489f2fd145bd958492c41cab0317e06b137cafba2240d0016fc549cc6",
        ),
        WeightsFile(
            "vgg19_conv1_1_to_conv3_1_hwio.npz",
            "the vgg22 loss: the first five convolutions of VGG19, convB_J_W and convB_J_b",
            "Simonyan & Zisserman 2014, www.robots.ox.ac.uk/~vgg/research/very_deep",
            "CC BY 4.0",
            "95141485db672779d684b74d30b2569dab0830eddd0ca9531d3fa195aa1b5f2b",
        ),
        WeightsFile(
            "yunet_n_dynamic.onnx",
            "the face detector YuNet-n, for images of any size",
            "onnx/ of github.com/ShiqiYu/libfacedetection.train",
            "BSD-3-Clause",
            "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
        ),
        WeightsFile(
            "yunet_n_320_320.onnx",
            "the same network with a fixed input, which OpenCV overrides",
            "onnx/ of github.com/ShiqiYu/libfacedetection.train",
            "BSD-3-Clause",
            "81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
        ),
        WeightsFile(
            "face_detection_yunet_2023mar.onnx",
            "the face detector YuNet as OpenCV's model zoo has it",
            "models/face_detection_yunet of github.com/opencv/opencv_zoo",
            "MIT",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    )
}

# Files of YuNet in the order in which they are taken.
YUNET = ("yunet_n_dynamic.onnx", "yunet_n_320_320.onnx", "face_detection_yunet_2023mar.onnx")


def weights_folders() -> list[Path]:
    """Where weights are looked for, in order."""
    cache = Path("~/.cache/srgan/weights").expanduser()
    chosen = os.environ.get(ENVIRONMENT)
    return [Path(chosen).expanduser().absolute(), cache] if chosen else [cache]


def find_weights(name: str) -> Path | None:
    """The file of a name in :data:`WEIGHTS`, its sha256 checked; ``None`` when it is nowhere.

    Raises :class:`ModelError` when the first file found has another sha256.
    """
    known = WEIGHTS[name]
    for folder in weights_folders():
        path = folder / name
        if path.is_file():
            found = _sha256(path, path.stat().st_mtime_ns)
            if found != known.sha256:
                raise ModelError(
                    f"{path}: not the known file (sha256 {found[:12]}…, expected "
                    f"{known.sha256[:12]}…); replace or remove it"
                )
            return path
    return None


def require_weights(name: str) -> Path:
    """As :func:`find_weights`; a :class:`ModelError` says what to do when the file is nowhere."""
    path = find_weights(name)
    if path is None:
        raise ModelError(missing(name))
    return path


def missing(name: str) -> str:
    """One line: which file is missing, where it was looked for, what to do."""
    places = ", ".join(str(folder) for folder in weights_folders())
    return (
        f"{name} is in none of: {places}; put it there or set {ENVIRONMENT} to its folder "
        f"(source: {WEIGHTS[name].source})"
    )


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a weights file by name; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as weights: {error}") from None


@functools.cache
def _sha256(path: Path, modified: int) -> str:  # noqa: ARG001 - part of the cache's key
    return storage.sha256_of(str(path))
