"""A generator as a few small files that hold no code: how the packaged models are stored.

``generator.json`` is Keras' own description of the network, ``weights.npz`` its variables by name,
beside them the model card, and ``SHA256SUMS`` over all of it (``sha256sum -c`` reads it). Half the
size of the ``.keras`` file, since kernels are kept in float16; they are float32 again once loaded.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from srgan import storage
from srgan.card import CARD, CARD_TEXT, ModelCard, read_card, write_card
from srgan.errors import ModelError

if TYPE_CHECKING:
    import keras

    from srgan.export import ExportedModel

NETWORK = "generator.json"
WEIGHTS = "weights.npz"
SUMS = "SHA256SUMS"
_LISTED = (NETWORK, WEIGHTS, CARD, CARD_TEXT)
_GET_AGAIN = "get the model again"

Precision = Literal["float16", "float32"]


def is_packed(folder: Path) -> bool:
    """Whether ``folder`` holds a model in this form."""
    return (folder / NETWORK).is_file()


def write_packed(
    generator: keras.Model, folder: Path, card: ModelCard, precision: Precision = "float16"
) -> ModelCard:
    """Write the model and its card into ``folder``; returns the card with the files' sha256.

    Kernels are rounded to ``precision``. Biases, normalisation and slopes stay float32: they are
    few, and a small variance would vanish in float16. ``SHA256SUMS`` comes last, so that a folder
    that was not finished is never loaded.
    """
    import keras

    from srgan.export import in_float32

    portable = in_float32(generator)
    network = keras.saving.serialize_keras_object(portable)
    network.pop("compile_config", None)
    weights = _named_weights(portable)
    storage.delete(str(folder / SUMS))
    text = json.dumps(network, sort_keys=True, separators=(",", ":"))
    storage.write_bytes(str(folder / NETWORK), text.encode() + b"\n")
    storage.write_bytes(str(folder / WEIGHTS), _npz(weights, np.dtype(precision)))
    card = write_card(folder, card)
    lines = [f"{storage.sha256_of(str(folder / name))}  {name}\n" for name in sorted(_LISTED)]
    storage.write_bytes(str(folder / SUMS), "".join(lines).encode())
    return card


def load_packed(folder: Path) -> ExportedModel:
    """The model in ``folder``, after every file of it was compared with ``SHA256SUMS``.

    The same object as :func:`srgan.export.load_exported` gives. Nothing in the files is code, and
    nothing is unpickled. Raises :class:`ModelError` naming the file.
    """
    from srgan.export import from_generator

    folder = folder.expanduser().absolute()
    _verify(folder)
    card = read_card(folder)
    assert card is not None
    model = from_generator(_generator(folder), folder, card)
    if model.scale != card.scale:
        raise ModelError(f"{folder}: the model scales by {model.scale}, its card says {card.scale}")
    return model


def packed_generator(folder: Path) -> keras.Model:
    """The Keras model in ``folder``, verified, in float32."""
    _verify(folder)
    return _generator(folder)


def as_keras_file(folder: Path, cache: Path) -> Path:
    """The model as ``<cache>/<sha256>.keras``, for fine-tuning; written where it is not there."""
    from srgan.checkpoints import save_generator

    _verify(folder)
    path = cache / f"{storage.sha256_of(str(folder / SUMS))}.keras"
    if not path.is_file():
        save_generator(_generator(folder), path)
    return path


def _generator(folder: Path) -> keras.Model:
    import keras

    import srgan.networks.generator  # noqa: F401 - registers the layers

    path = folder / NETWORK
    try:
        network = json.loads(path.read_bytes())
        generator = keras.saving.deserialize_keras_object(network, safe_mode=True)
        variables = _by_name(generator)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        detail = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: no network that can be built here: {detail}") from None
    weights = _read_npz(folder / WEIGHTS)
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    if shapes != {name: array.shape for name, array in weights.items()}:
        raise ModelError(f"{folder / WEIGHTS}: not the weights of {NETWORK}; {_GET_AGAIN}")
    for name, variable in variables.items():
        variable.assign(weights[name].astype(np.float32))
    return generator


def _verify(folder: Path) -> None:
    path = folder / SUMS
    if not path.is_file():
        raise ModelError(f"{path}: missing, so the model cannot be verified; {_GET_AGAIN}")
    lines = path.read_text("utf-8", errors="replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {
        entry.relative_to(folder).as_posix()
        for entry in folder.rglob("*")
        if entry.is_symlink() or entry.is_file()
    }
    if foreign := sorted(found - {*_LISTED, SUMS}):
        raise ModelError(f"{folder / foreign[0]}: no part of a packaged model; remove the file")
    for name in _LISTED:
        actual = storage.sha256_of(str(folder / name)) if name in found else "missing"
        if actual != expected.get(name):
            raise ModelError(
                f"{folder / name}: changed: sha256 is {actual}, {SUMS} says "
                f"{expected.get(name, 'nothing')}; {_GET_AGAIN}"
            )


def _by_name(generator: keras.Model) -> dict[str, Any]:
    variables = {variable.path: variable for variable in generator.weights}
    if len(variables) != len(generator.weights):
        raise ModelError(f"generator {generator.name!r}: two layers have the same name")
    return variables


def _named_weights(generator: keras.Model) -> dict[str, NDArray[np.float32]]:
    return {
        name: np.asarray(variable.numpy(), np.float32)
        for name, variable in _by_name(generator).items()
    }


def _npz(weights: Mapping[str, NDArray[np.float32]], precision: np.dtype[Any]) -> bytes:
    limit = float(np.finfo(precision).max)
    stored = {
        name: array.astype(precision)
        if array.ndim > 1 and float(np.abs(array).max(initial=0)) < limit
        else array
        for name, array in weights.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **stored)
    return buffer.getvalue()


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        detail = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: not readable: {detail}; {_GET_AGAIN}") from None
