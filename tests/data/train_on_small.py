"""``python -m tests.data.train_on_small URL ...``: `xlenet.train`, for which MNIST is nine pictures on the mirror URL.

With ``--hang`` before the URL the process says so and stops in the middle of writing its first file.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tests.data.fakes import small_source
from xlenet import files, train
from xlenet.data import registry

SMALL = small_source("mnist", pixels=(28, 28))


def hang(*_: Any) -> None:
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "--hang":
        del arguments[0]
        files.os.fsync = hang
    url, *rest = arguments
    registry.SOURCES["mnist"] = SMALL.source._replace(mirrors=(url,))
    sys.exit(train.main(rest))
