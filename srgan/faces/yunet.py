"""YuNet (Wu, Peng & Yu 2023, "YuNet: a tiny millisecond-level face detector") through OpenCV."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from srgan.errors import ModelError
from srgan.faces.detect import Finder
from srgan.faces.face import Face
from srgan.faces.packages import require
from srgan.images import Pixels

# On photos of crowds every face of 12 pixels and more scores so much, and few other things do.
_DOUBTFUL = 0.5
_NMS_OVERLAP = 0.3
_MAX_FACES = 5000


def yunet(model: bytes, min_score: float) -> Finder:
    """The finder of an ONNX file's bytes; :class:`ModelError` when it is no YuNet.

    OpenCV runs in one thread from then on, in the whole process: builds use a process a core.
    """
    cv2 = require("cv2")
    cv2.setNumThreads(1)
    net = _create(cv2, model, min(_DOUBTFUL, min_score))
    lock = threading.Lock()

    def look(pixels: Pixels) -> list[Face]:
        height, width = pixels.shape[:2]
        with lock:
            net.setInputSize((width, height))
            _, rows = net.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
        return [] if rows is None else [_face(row) for row in rows.astype(float).tolist()]

    try:
        look(np.zeros((32, 32, 3), np.uint8))
    except cv2.error as error:
        raise ModelError(f"not YuNet: {_reason(error)}") from None
    return Finder(
        look,
        smallest=18,
        largest=256,
        patch=160,
        min_score=min_score,
        upright_score=0.92,
        tile=1280,
        max_scale=1.0,
        max_pixels=50_000_000,
    )


def _create(cv2: Any, model: bytes, threshold: float) -> Any:
    # OpenCV writes warnings of its own to the terminal, from every worker.
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        return cv2.FaceDetectorYN.create(
            "onnx",
            np.frombuffer(model, np.uint8),
            np.zeros(0, np.uint8),
            (320, 320),
            threshold,
            _NMS_OVERLAP,
            _MAX_FACES,
        )
    except cv2.error as error:
        raise ModelError(f"no network that OpenCV can read: {_reason(error)}") from None
    finally:
        logging.setLogLevel(level)


def _face(row: list[float]) -> Face:
    """Of YuNet's fifteen numbers: the box, five points (eyes, nose, mouth's corners), the score."""
    left, top, width, height = row[:4]
    return Face(
        left_eye=(row[4], row[5]),
        right_eye=(row[6], row[7]),
        mouth=((row[10] + row[12]) / 2, (row[11] + row[13]) / 2),
        box=(left, top, width, height),
        score=row[14],
    )


def _reason(error: Exception) -> str:
    """What OpenCV says, without where in its code it says so."""
    said = " ".join(str(error).split())
    return said.partition("error: ")[2].partition(" in function")[0] or said[:200]
