"""What the stand-in counts, and the error that its driver raises."""

from __future__ import annotations


class CUDARuntimeError(RuntimeError):
    """As CuPy's: a call of the CUDA runtime failed."""


class Counters:
    """What a test may ask afterwards.

    Attributes:
        waits: how often the host waited for the device: ``.get()``, ``.item()``, ``float()``, ``synchronize()`` ...
        uploads: copies from the host to the device.
        downloads: copies from the device to the host that the host waits for; each is one of `waits`, too.
        late_copies: copies to the host that nobody waits for.
        operations: what was run at once, array function or kernel.
        replays: launches of graphs.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.waits = self.uploads = self.downloads = self.late_copies = self.operations = self.replays = 0


counters = Counters()


class Settings:
    """What a test may switch.

    Attributes:
        cublas_can_be_captured: CuPy refuses to record matrix products. True lets them through, for tests of what is
            recorded around them that have no need of kernels.
    """

    cublas_can_be_captured = False


settings = Settings()
