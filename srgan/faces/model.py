"""Which detector a build uses, and the bytes of its model file."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Literal

from srgan import storage, weights
from srgan.dataset_config import FaceConfig
from srgan.errors import ConfigError, ModelError, StorageError
from srgan.faces.align import least_size
from srgan.faces.detect import Detector
from srgan.faces.hog import hog
from srgan.faces.landmarks import LANDMARKS_SHA256, load_landmarks
from srgan.faces.yunet import yunet

Kind = Literal["yunet", "dlib"]

# YuNet has a third of a megabyte.
_MAX_BYTES = 16 * 2**20
_TIMEOUT_SECONDS = 30
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class FaceModel:
    """A detector, the model file it needs (``None``: none), and the sha256 that names it."""

    kind: Kind
    model: bytes | None
    sha256: str


def find_model(face_model: str | None, config: FaceConfig) -> FaceModel:
    """The detector that ``config`` and the model files at hand give.

    ``face_model`` is the file of YuNet: a path, ``gs://…`` or ``https://…``, the latter with
    ``#sha256=…`` where only that file will do (it is then fetched once, and ``http://`` will do,
    too). Without it YuNet is looked for as all weights are (:mod:`srgan.weights`). ``auto`` takes
    YuNet where it is at hand, else dlib's detector. The detector is opened once, so that a build
    does not begin with one that cannot run.

    Raises :class:`ConfigError` for a missing package or a contradiction, :class:`ModelError` for a
    file that is missing or is not what it should be, :class:`StorageError` when it cannot be read.
    """
    found = _choose(face_model, config)
    if config.model_sha256 not in (None, found.sha256):
        raise ModelError(
            f"the face detector at hand ({found.kind}, sha256 {found.sha256[:12]}…) is not that of "
            f"the config (sha256 {str(config.model_sha256)[:12]}…); name its file or leave "
            "faces.model_sha256 out"
        )
    return found


def open_detector(kind: Kind, model: bytes | None, config: FaceConfig, hr_size: int) -> Detector:
    """The detector of faces that are large enough for crops of ``hr_size``.

    ``kind`` and ``model`` as :func:`find_model` gives them. Raises :class:`ConfigError` for a
    missing package, :class:`ModelError` for bytes that are no YuNet.
    """
    if kind == "dlib":
        finder = hog()
    else:
        if model is None:
            raise ValueError("yunet needs the bytes of its model")
        finder = yunet(model, config.min_score)
    return Detector(finder, load_landmarks(), least_size(config, hr_size))


def _choose(face_model: str | None, config: FaceConfig) -> FaceModel:
    if face_model is not None:
        if config.detector == "dlib":
            raise ConfigError(f"face model {face_model} is for detector yunet, not dlib")
        return _yunet(face_model, _read(face_model), config)
    if config.detector != "dlib":
        for name in weights.YUNET:
            path = weights.find_weights(name)
            if path is not None:
                return _yunet(str(path), path.read_bytes(), config)
    if config.detector == "yunet":
        folders = ", ".join(str(folder) for folder in weights.weights_folders())
        raise ModelError(
            f"detector yunet: none of {', '.join(weights.YUNET)} is in {folders}; put one there "
            f"(source: {weights.WEIGHTS[weights.YUNET[-1]].source}), or name its file or URL with "
            "--face-model"
        )
    open_detector("dlib", None, config, 128)
    return FaceModel("dlib", None, LANDMARKS_SHA256)


def _yunet(place: str, data: bytes, config: FaceConfig) -> FaceModel:
    if data.startswith(_LFS_POINTER):
        raise ModelError(f"{place}: a Git LFS pointer, not the model; run git lfs pull")
    try:
        open_detector("yunet", data, config, 128)
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None
    return FaceModel("yunet", data, hashlib.sha256(data).hexdigest())


def _read(place: str) -> bytes:
    scheme = urllib.parse.urlsplit(place).scheme
    if scheme in ("http", "https"):
        return _fetch(place)
    if not storage.exists(place):
        raise StorageError(f"{place}: no such face model; give the file or URL of YuNet")
    return storage.read_bytes(place)


def _fetch(place: str) -> bytes:
    url, fragment = urllib.parse.urldefrag(place)
    pinned = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
    if fragment and pinned is None:
        raise ConfigError(f"{place}: after # comes sha256= and 64 hexadecimal digits")
    if pinned is None and not url.startswith("https://"):
        raise ConfigError(f"{place}: could be changed on its way; use https:// or add #sha256=…")
    if pinned is None:
        return _download(url)
    cached = weights.weights_folders()[-1] / f"{pinned[1]}.onnx"
    if cached.is_file() and storage.sha256_of(str(cached)) == pinned[1]:
        return cached.read_bytes()
    data = _download(url)
    found = hashlib.sha256(data).hexdigest()
    if found != pinned[1]:
        raise ModelError(f"{url}: sha256 is {found}, expected {pinned[1]}")
    storage.write_bytes(str(cached), data)
    return data


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            data = bytes(answer.read(_MAX_BYTES + 1))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StorageError(f"{url}: cannot be fetched: {error}") from None
    if len(data) > _MAX_BYTES:
        raise ModelError(f"{url}: larger than {_MAX_BYTES >> 20} MiB, so it is no YuNet")
    return data
