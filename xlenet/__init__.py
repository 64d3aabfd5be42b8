"""Neural-network layers written once, that run on NumPy on any laptop and on CuPy on an NVIDIA GPU.

Importing this imports NumPy and nothing else, reads no environment variable and touches no file.
"""

from . import errors, functional, losses, models, optim, schedules
from .backend import default_namespace, namespace_of, synchronize, to_device, to_host, use_backend, use_threads
from .functional import col2img, img2col
from .layers import BatchNorm, Conv2D, Flatten, Layer, Linear, LogSoftmax, MaxPool2D, ReLU, Sequential, Softmax
from .losses import NLLLoss, SoftmaxCrossEntropy
from .models import LeNet5
from .optim import SGD, Adam, AdamW
from .workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Conv2D",
    "Flatten",
    "Layer",
    "LeNet5",
    "Linear",
    "LogSoftmax",
    "MaxPool2D",
    "NLLLoss",
    "ReLU",
    "Sequential",
    "Softmax",
    "SoftmaxCrossEntropy",
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
