"""The chief's weights and position, given to every worker: none of them reads its files."""

from __future__ import annotations

import numpy as np

from srgan.position import Position
from srgan.state import TrainState
from srgan.workers import Workers


def share(workers: Workers, state: TrainState, position: Position) -> Position:
    """The chief's position; ``state`` has its values on every worker then, bit for bit."""
    if workers.alone:
        return position
    networks = (state.generator, state.average, state.discriminator)
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    variables = [v for network in networks for v in network.weights]
    variables += [v for optimizer in optimizers for v in optimizer.variables]
    values = [np.asarray(variable.numpy()) for variable in variables]
    data = workers.share(b"".join(value.tobytes() for value in values))
    shared = Position.model_validate_json(workers.share(position.model_dump_json().encode()))
    if workers.is_chief:
        return position
    offset = 0
    for variable, value in zip(variables, values, strict=True):
        part = data[offset : offset + value.nbytes]
        variable.assign(np.frombuffer(part, value.dtype).reshape(value.shape))
        offset += value.nbytes
    return shared
