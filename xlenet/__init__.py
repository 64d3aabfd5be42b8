"""Neural-network layers written once, that run on NumPy on any laptop and on CuPy on an NVIDIA GPU.

Importing this imports NumPy and nothing else, reads no environment variable and touches no file.
"""

from . import errors, functional, losses, models, optim, schedules
from .backend import default_namespace, namespace_of, synchronize, to_device, to_host, use_backend, use_threads
from .functional import col2img, img2col
from .layers import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    LogSoftmax,
    MaxPool2D,
    Permute,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from .losses import NLLLoss, SoftmaxCrossEntropy
from .models import LeNet5
from .optim import SGD, Adam, AdamW
from .workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "LeNet5",
    "Linear",
    "LogSoftmax",
    "MaxPool2D",
    "NLLLoss",
    "Permute",
    "ReLU",
    "Reshape",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Workspace",
    "col2img",
    "default_namespace",
    "errors",
    "functional",
    "img2col",
    "losses",
    "models",
    "namespace_of",
    "optim",
    "schedules",
    "synchronize",
    "to_device",
    "to_host",
    "use_backend",
    "use_threads",
]
