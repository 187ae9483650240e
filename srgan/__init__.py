"""Face super-resolution with SRGAN: pixels, records, training, evaluation and the registry.

Importing this package imports neither TensorFlow nor MLflow nor Beam: the functions that need
them do, so that ``srgan --help`` answers at once.
"""

__version__ = "0.1.0"
