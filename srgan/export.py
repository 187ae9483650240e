"""From a Keras generator to files that need none of our code, and back to a callable.

A model folder holds ``saved_model/`` (uint8 in, uint8 out), ``generator.keras`` for fine-tuning
and, once the model was evaluated, ``model_card.json`` with the sha256 of every other file.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from srgan.card import CARD, CARD_TEXT, ModelCard, file_digests, read_card
from srgan.errors import ModelError
from srgan.images import Pixels

if TYPE_CHECKING:
    import keras

SAVED_MODEL = "saved_model"
KERAS_FILE = "generator.keras"
# What MLflow puts beside a model that it keeps; none of it is read here.
REGISTRY_FILES = frozenset(
    {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta"}
)
_SAVED_MODEL_FILES = frozenset(
    {"saved_model.pb", "fingerprint.pb", "variables/variables.index"}
    | {f"variables/variables.data-{part:05d}-of-{of:05d}" for of in (1, 2) for part in range(of)}
)
# Operations through which a graph reads files, writes them or runs Python.
_UNSAFE_OPERATIONS = frozenset(
    {"EagerPyFunc", "PyFunc", "PyFuncStateless", "PrintV2", "ReadFile", "WriteFile"}
)


@dataclass(frozen=True)
class ExportedModel:
    """An exported generator: uint8 ``[N, H, W, 3]`` to uint8 ``[N, sH, sW, 3]``, any N, H, W."""

    scale: int
    folder: Path
    card: ModelCard | None
    _loaded: Any

    def __call__(self, batch: Pixels) -> Pixels:
        """uint8 LR images to uint8 SR images, clipped and rounded."""
        return self._run("serving_default", batch, np.uint8)

    def unit(self, batch: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """float32 LR in [0, 1] to float32 SR clipped to [0, 1]: for tiles and 16-bit pictures."""
        return self._run("unit", batch, np.float32)

    def _run(self, signature: str, batch: NDArray[Any], dtype: Any) -> NDArray[Any]:
        import tensorflow as tf

        if batch.shape[0] == 0:
            # TensorFlow's fused convolution refuses an empty batch.
            _, height, width, channels = batch.shape
            return np.zeros((0, height * self.scale, width * self.scale, channels), dtype)
        images = tf.constant(batch, dtype)
        return np.asarray(self._loaded.signatures[signature](images)["output"])


def export_model(generator: keras.Model, folder: Path) -> None:
    """Write ``saved_model/`` and ``generator.keras`` of a generator into ``folder``.

    ``generator`` maps LR float32 ``[N, H, W, C]`` in [0, 1] to SR ``[N, sH, sW, C]`` in [-1, 1]
    (clipped here where it exceeds that). With ``C = 1`` it upscales the luma and colour is
    enlarged beside it. Whatever precision and devices it was trained with, what is written
    computes in float32 on one device. A folder that has a model is replaced as a whole.

    Raises :class:`ModelError` when the output is no whole multiple of the input, or when the
    folder holds anything else.
    """
    import tensorflow as tf

    _refuse_other_folder(folder)
    portable = in_float32(generator)
    scale = _probe_scale(portable)
    module = _serving_module(portable, scale)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as name:
        temporary = Path(name) / "model"
        tf.saved_model.save(
            module,
            str(temporary / SAVED_MODEL),
            signatures={"serving_default": module.serve, "unit": module.unit},
            options=tf.saved_model.SaveOptions(experimental_debug_stripper=True),
        )
        shutil.rmtree(temporary / SAVED_MODEL / "assets", ignore_errors=True)
        portable.save(temporary / KERAS_FILE)
        if _load(temporary).scale != scale:
            raise ModelError(f"{folder}: the exported model does not scale by {scale} any more")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)


def load_exported(folder: Path, *, unverified: bool = False) -> ExportedModel:
    """The model in ``folder``, after every file of it was compared with the model card.

    ``unverified`` admits a folder without a card (a run's model before its evaluation); files
    that could hold code are refused all the same.

    Raises :class:`ModelError` naming the file, and both sha256 where they differ.
    """
    folder = folder.expanduser().absolute()
    if not (folder / SAVED_MODEL / "saved_model.pb").is_file():
        raise ModelError(
            f"{folder}: no model here (no {SAVED_MODEL}/saved_model.pb); "
            "give the folder `model` of a training run"
        )
    _refuse_foreign_files(folder)
    card = read_card(folder)
    if card is not None:
        _verify(folder, card)
    elif not unverified:
        raise ModelError(
            f"{folder}: no {CARD}, so its files cannot be verified; evaluate the run first, "
            "or export it again"
        )
    _refuse_unsafe_operations(folder)
    model = _load(folder, card)
    if card is not None and card.scale != model.scale:
        raise ModelError(f"{folder}: the model scales by {model.scale}, its card says {card.scale}")
    return model


def from_generator(
    generator: keras.Model, folder: Path, card: ModelCard | None = None
) -> ExportedModel:
    """What an export of ``generator`` would load as, without the files. ``folder`` is its origin.

    It computes in the generator's own precision: see :func:`in_float32`. Raises
    :class:`ModelError` when the output is no whole multiple of the input.
    """
    scale = _probe_scale(generator)
    module = _serving_module(generator, scale)
    signatures = {"serving_default": module.serve, "unit": module.unit}
    # The functions know their module by a weak reference only.
    return ExportedModel(scale, folder, card, SimpleNamespace(signatures=signatures, module=module))


def weights_digest(folder: Path) -> str:
    """sha256 of the weights of an exported model.

    Equal for equal weights: a new export of them differs in time stamps and names alone.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / SAVED_MODEL / "variables" / "variables"))
    digest = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
            digest.update(name.encode() + np.asarray(reader.get_tensor(name)).tobytes())
    return digest.hexdigest()


def _load(folder: Path, card: ModelCard | None = None) -> ExportedModel:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder / SAVED_MODEL))
        model = ExportedModel(0, folder, card, loaded)
        probe = model.unit(np.zeros((1, 2, 2, 3), np.float32))
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: TensorFlow cannot load this model: {detail}") from error
    return ExportedModel(probe.shape[1] // 2, folder, card, loaded)


def _refuse_other_folder(folder: Path) -> None:
    """An export replaces a model, never a folder that somebody keeps other things in."""
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"{folder}: is a file; give a folder for the exported model")
    if folder.is_dir():
        _refuse_foreign_files(folder)


def _verify(folder: Path, card: ModelCard) -> None:
    found = {
        name: digest for name, digest in file_digests(folder).items() if name not in REGISTRY_FILES
    }
    for name in sorted(card.files.keys() | found.keys()):
        expected, actual = card.files.get(name), found.get(name)
        if actual is None:
            raise ModelError(f"{folder / name}: missing ({CARD} lists it); get the model again")
        if expected is None:
            raise ModelError(f"{folder / name}: not in {CARD} (sha256 {actual}); remove the file")
        if actual != expected:
            raise ModelError(
                f"{folder / name}: changed: sha256 is {actual}, {CARD} says {expected}; "
                "get the model again"
            )


def _refuse_foreign_files(folder: Path) -> None:
    """Only names that an export can have: no pickle, HDF5 or Python gets in, by any name."""
    allowed = {KERAS_FILE, CARD, CARD_TEXT, *REGISTRY_FILES}
    allowed |= {f"{SAVED_MODEL}/{name}" for name in _SAVED_MODEL_FILES}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_file() and name not in allowed):
            raise ModelError(
                f"{path}: no part of an exported model (pickle, .h5, Python and unknown files "
                "are refused); remove it, or export the model again"
            )


def _refuse_unsafe_operations(folder: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / SAVED_MODEL / "saved_model.pb"
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except Exception:
        raise ModelError(f"{path}: not a SavedModel; get the model again") from None
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        unsafe = sorted({node.op for node in nodes} & _UNSAFE_OPERATIONS)
        if unsafe:
            raise ModelError(f"{path}: contains {unsafe[0]}, which can reach files or run code")


def in_float32(generator: keras.Model) -> keras.Model:
    """A copy that computes in float32 and whose variables live on one device."""
    import keras

    config = _without_precision(keras.saving.serialize_keras_object(generator))
    config.pop("compile_config", None)
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(generator.get_weights())
    return copy


def _without_precision(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get("class_name") == "DTypePolicy":
            return {**value, "config": {"name": "float32"}}
        return {key: _without_precision(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_precision(item) for item in value)
    return value


def _probe_scale(generator: keras.Model) -> int:
    height, width = 3, 5
    channels = generator.input_shape[-1]
    shape = generator(np.zeros((1, height, width, channels), np.float32), training=False).shape
    scale = shape[1] // height
    if tuple(shape) != (1, scale * height, scale * width, channels):
        raise ModelError(
            f"generator {generator.name!r} makes {tuple(shape)} of (1, {height}, {width}, "
            f"{channels}); expected a whole multiple of height and width"
        )
    return int(scale)


def _serving_module(generator: keras.Model, scale: int) -> Any:
    import tensorflow as tf

    from srgan.networks.luma import upscale_rgb

    bytes_in = tf.TensorSpec((None, None, None, 3), tf.uint8, "images")
    unit_in = tf.TensorSpec((None, None, None, 3), tf.float32, "images")

    def to_unit_sr(unit: Any) -> Any:
        return tf.clip_by_value((upscale_rgb(generator, unit, scale) + 1.0) / 2.0, 0.0, 1.0)

    class ServingModule(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="super_resolution")
            self.generator = generator

        # MLflow calls the loaded object itself; TensorFlow restores `__call__` only where its
        # first argument is named self.
        @tf.function(input_signature=[bytes_in])
        def __call__(self, images: Any) -> Any:
            unit = to_unit_sr(tf.cast(images, tf.float32) / 255.0)
            return tf.cast(tf.round(unit * 255.0), tf.uint8)

        @tf.function(input_signature=[bytes_in])
        def serve(self, images: Any) -> Any:
            return {"output": self(images)}

        @tf.function(input_signature=[unit_in])
        def unit(self, images: Any) -> Any:
            return {"output": to_unit_sr(images)}

    return ServingModule()
