"""3x3 convolutions with a quarter of the multiplications (Winograd 1980; Lavin & Gray 2016).

For kernels that do not change: the transformed kernel is four times as large and is made once.
On processors it takes half the time of the direct convolution from 256 channels on and three
quarters with 128; below, moving the tiles about costs more than is saved. GPUs' libraries choose
such algorithms themselves. In float32 alone: the transforms lose some bits, about 1e-4 of the
result's standard deviation, which would be a multiple of that in bfloat16.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

# Side of an output tile, and of the input tile that it needs: F(4x4, 3x3).
_TILE, _INPUT = 4, 6
_FEWEST_CHANNELS = 128
# Lavin & Gray 2016, section 4.3: transforms of the input tile, the kernel and the product.
_INPUT_TRANSFORM = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_OUTPUT_TRANSFORM = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


class FrozenConv2D(layers.Conv2D):
    """A 3x3 Conv2D, stride 1, ``same``, of weights that never change: :meth:`freeze` it.

    Where the fast algorithm pays it is used, for the gradient of the input as well; else this is
    Keras' convolution. The gradient of the kernel is not offered.
    """

    _transformed: tuple[Any, Any] | None = None

    def freeze(self, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.set_weights([kernel, bias])
        self.trainable = False
        if (
            min(kernel.shape[2:]) >= _FEWEST_CHANNELS
            and self.compute_dtype == "float32"
            and not keras.distribution.list_devices("gpu")
        ):
            # The gradient of a convolution is the convolution with the kernel turned around.
            turned = np.swapaxes(kernel[::-1, ::-1], 2, 3)
            self._transformed = (transformed(kernel), transformed(turned))

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        height, width = inputs.shape[1:3]
        tiles = height and width and height % _TILE == 0 and width % _TILE == 0
        if self._transformed is None or not tiles:
            return super().convolution_op(inputs, kernel)
        return frozen_convolution(inputs, *self._transformed)


def frozen_convolution(inputs: Any, kernel: Any, turned: Any) -> Any:
    """:func:`convolution` whose gradient is one, too, by the transformed ``turned`` kernel."""

    @ops.custom_gradient
    def call(x: Any) -> tuple[Any, Any]:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            return convolution(arguments[0] if upstream is None else upstream, turned)

        return convolution(x, kernel), gradient

    return call(inputs)


def transformed(kernel: NDArray[np.float32]) -> Any:
    """A kernel [3, 3, C, D] as :func:`convolution` takes it: [36, C, D]."""
    both = np.kron(_KERNEL_TRANSFORM, _KERNEL_TRANSFORM)
    flat = both @ kernel.reshape(9, -1).astype(np.float64)
    return ops.convert_to_tensor(flat.reshape(_INPUT**2, *kernel.shape[2:]).astype(np.float32))


def convolution(x: Any, kernel: Any) -> Any:
    """``x [N, H, W, C]``, H and W multiples of 4, to [N, H, W, D]; zeros beyond the border."""
    _, height, width, channels = x.shape
    rows, columns = height // _TILE, width // _TILE
    filters = kernel.shape[-1]
    border = (1, _TILE - 1)
    padded = ops.pad(x, ((0, 0), border, border, (0, 0)))
    # [4, 4, N, rows + 1, columns + 1, C]: places in a tile first. An input tile is a whole tile
    # and the first two rows and columns of its neighbours.
    split = ops.reshape(padded, (-1, rows + 1, _TILE, columns + 1, _TILE, channels))
    places = ops.transpose(split, (2, 4, 0, 1, 3, 5))
    over = _INPUT - _TILE
    quarters = (
        places[:, :, :, :rows, :columns],
        places[:, :over, :, :rows, 1:],
        places[:over, :, :, 1:, :columns],
        places[:over, :over, :, 1:, 1:],
    )
    flat = [ops.reshape(q, (q.shape[0] * q.shape[1], -1)) for q in quarters]
    tiles = ops.matmul(_input_matrix(), ops.concatenate(flat))
    products = ops.matmul(ops.reshape(tiles, (_INPUT**2, -1, channels)), kernel)
    both = np.kron(_OUTPUT_TRANSFORM, _OUTPUT_TRANSFORM).astype(np.float32)
    out = ops.matmul(both, ops.reshape(products, (_INPUT**2, -1)))
    out = ops.reshape(out, (_TILE, _TILE, -1, rows, columns, filters))
    return ops.reshape(ops.transpose(out, (2, 3, 0, 4, 1, 5)), (-1, height, width, filters))


def _input_matrix() -> NDArray[np.float32]:
    """Both sides' transform of an input tile, for the order of places of :func:`convolution`."""
    inner, outer = range(_TILE), range(_TILE, _INPUT)
    order = [
        row * _INPUT + column
        for rows, columns in ((inner, inner), (inner, outer), (outer, inner), (outer, outer))
        for row in rows
        for column in columns
    ]
    return np.kron(_INPUT_TRANSFORM, _INPUT_TRANSFORM)[:, order].astype(np.float32)
