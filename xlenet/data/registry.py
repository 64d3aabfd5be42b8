"""The data sets that the library knows by name: their files, the digests of these, and where to get them.

MNIST is known by the SHA-256 of its unpacked files, because each mirror compresses it in its own way. Of Fashion-MNIST
the SHA-256 of the .gz files is known. Its unpacked files are known by MD5 alone, which is enough to tell a damaged file
on disk, and is never trusted for bytes from the network.
"""

from __future__ import annotations

from typing import NamedTuple

from .datafile import DataFile


class Source(NamedTuple):
    """A data set of four IDX files.

    Attributes:
        name: name of the data set, and of its folder.
        torchvision_name: name of the folder in which torchvision keeps the same files.
        files: training images, training labels, test images, test labels.
        mirrors: addresses of the folders that hold the files as .gz, in the order of asking.
        class_names: name of each class.
    """

    name: str
    torchvision_name: str
    files: tuple[DataFile, DataFile, DataFile, DataFile]
    mirrors: tuple[str, ...]
    class_names: tuple[str, ...]


_TRAIN, _TEST = 60_000, 10_000

MNIST = Source(
    name="mnist",
    torchvision_name="MNIST",
    files=(
        DataFile(
            "train-images-idx3-ubyte",
            (_TRAIN, 28, 28),
            "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        DataFile(
            "train-labels-idx1-ubyte",
            (_TRAIN,),
            "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        DataFile(
            "t10k-images-idx3-ubyte",
            (_TEST, 28, 28),
            "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte",
            (_TEST,),
            "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://dataset.bj.bcebos.com/mnist/",
    ),
    class_names=tuple("0123456789"),
)

FASHION_MNIST = Source(
    name="fashion-mnist",
    torchvision_name="FashionMNIST",
    files=(
        DataFile(
            "train-images-idx3-ubyte",
            (_TRAIN, 28, 28),
            "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        DataFile(
            "train-labels-idx1-ubyte",
            (_TRAIN,),
            "md5:9018921c3c673c538a1fc5bad174d6f9",
            "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        DataFile(
            "t10k-images-idx3-ubyte",
            (_TEST, 28, 28),
            "md5:8181f5470baa50b63fa0f6fddb340f0a",
            "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte",
            (_TEST,),
            "md5:15d484375f8d13e6eb1aabb0c3f46965",
            "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://dataset.bj.bcebos.com/fashion_mnist/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

SOURCES = {source.name: source for source in (MNIST, FASHION_MNIST)}
NAMES = (*SOURCES, "generated")  # what `load` knows without a path
