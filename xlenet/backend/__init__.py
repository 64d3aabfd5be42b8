"""Which array library computes: the only place that knows which ones exist.

The mathematics asks the arrays (`namespace_of`); whoever makes new arrays asks `default_namespace`: the innermost
``with use_backend(...)``, else the environment variable ``XLENET_BACKEND``, else NumPy. ``xp`` is always the library's
own module, never a wrapper. Bytes cross between host and device in `to_host` and `to_device` (and `place`, which it is
made of), and nowhere else.
"""

from .choice import (
    Backend,
    as_backend,
    backend_of,
    default_backend,
    default_namespace,
    resolve_backend,
    unused_gpu,
    use_backend,
)
from .debug import all_finite, debugging
from .foreign import borrow, give_back, hand_over, home_of, is_foreign, share_memory
from .libraries import Array, Namespace, kind_of, library_of, namespace_of, on_device_of, synchronize
from .memory import (
    arange,
    as_finite,
    batch_first,
    batch_last,
    copy,
    empty,
    empty_batch_last,
    in_one_piece,
    into,
    place,
    put,
    read,
    to_device,
    to_host,
    zeros,
)
from .seam import swappable, swappables
from .threads import in_parts, thread_count, use_threads

__all__ = [
    "Array",
    "Backend",
    "Namespace",
    "all_finite",
    "arange",
    "as_backend",
    "as_finite",
    "backend_of",
    "batch_first",
    "batch_last",
    "borrow",
    "copy",
    "debugging",
    "default_backend",
    "default_namespace",
    "empty",
    "empty_batch_last",
    "give_back",
    "hand_over",
    "home_of",
    "in_one_piece",
    "in_parts",
    "into",
    "is_foreign",
    "kind_of",
    "library_of",
    "namespace_of",
    "on_device_of",
    "place",
    "put",
    "read",
    "resolve_backend",
    "share_memory",
    "swappable",
    "swappables",
    "synchronize",
    "thread_count",
    "to_device",
    "to_host",
    "unused_gpu",
    "use_backend",
    "use_threads",
    "zeros",
]
