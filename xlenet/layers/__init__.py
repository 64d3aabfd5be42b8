"""State around the mathematics of `xlenet.functional`: parameters, gradients, running statistics, and what backward
needs.
"""

from .activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .base import Layer
from .conv import Conv2D
from .dropout import Dropout
from .linear import Linear
from .norm import BatchNorm
from .pool import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from .sequential import Sequential
from .shape import Flatten, Permute, Reshape

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "Linear",
    "LogSoftmax",
    "MaxPool2D",
    "Permute",
    "ReLU",
    "Reshape",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
