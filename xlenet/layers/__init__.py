"""State around the mathematics of `xlenet.functional`: parameters, gradients, running statistics, and what backward
needs.
"""

from .activation import LogSoftmax, ReLU, Softmax
from .base import Layer
from .conv import Conv2D
from .linear import Linear
from .norm import BatchNorm
from .pool import MaxPool2D
from .sequential import Sequential
from .shape import Flatten

__all__ = [
    "BatchNorm",
    "Conv2D",
    "Flatten",
    "Layer",
    "Linear",
    "LogSoftmax",
    "MaxPool2D",
    "ReLU",
    "Sequential",
    "Softmax",
]
