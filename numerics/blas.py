"""One BLAS thread in a worker process: as many workers as cores, and the same rounding in all of them."""

import os

from threadpoolctl import threadpool_limits

__all__ = ["pin_blas"]

_PINNED: set[int] = set()


def pin_blas() -> None:
    """Pin BLAS to one thread in this process, for good, the first time it is called there.

    A process that needs its threads back calls what pins it inside `threadpoolctl.threadpool_limits`.
    """
    # A forked process inherits the set, not the limit: its number is another.
    if os.getpid() not in _PINNED:
        threadpool_limits(limits=1, user_api="blas")
        _PINNED.add(os.getpid())
