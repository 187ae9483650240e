"""Networks: Keras 3 functional models from ``keras.layers`` and ``keras.ops`` alone.

LR comes in [0, 1], SR leaves in [-1, 1], discriminators answer in logits. Nothing here is
TensorFlow's own, so the same networks run on every Keras backend.
"""
