"""What tests must not inherit from whoever started them.

One BLAS thread while testing: with two, every small product waits for a core that another process may hold. Ctrl-C
raises: a shell starts what runs in its background with SIGINT ignored.
"""

import os
import signal

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

signal.signal(signal.SIGINT, signal.default_int_handler)
