"""For whoever writes a layer: is it right, on every array library, in three lines of a test.

The fixture ``xp``, which runs a test on each library, is in `xlenet.testing.plugin`; pytest finds it by itself where
xlenet is installed. Nothing here needs pytest.
"""

from .gradients import check_gradients
from .layer import check_layer

__all__ = ["check_gradients", "check_layer"]
