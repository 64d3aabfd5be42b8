"""The tests; this file is imported before any of them."""

import os

# Before NumPy is imported: on a machine with other work to do, several threads in products this small wait for each
# other longer than they compute. Processes that tests start inherit it.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
