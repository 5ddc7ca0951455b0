"""Work that cannot fit in memory is refused in words: where memory is promised freely the system kills the process."""

from __future__ import annotations

from collections.abc import Iterator

from iclglass.numerics.errors import ParameterError

__all__ = ["check_memory", "chunks"]


def check_memory(needed: float, *, what: str, remedy: str) -> None:
    """Refuse what needs more bytes than are free: a ParameterError names both amounts and the remedy.

    >>> check_memory(1e3, what="a few numbers", remedy="take fewer")
    >>> check_memory(1e30, what="all numbers", remedy="take fewer")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    iclglass.numerics.errors.ParameterError: all numbers need about 9.3e+20 GiB of memory, ... GiB are free: take fewer
    """
    import psutil

    available = psutil.virtual_memory().available
    if needed > available:
        raise ParameterError(
            f"{what} need about {needed / 2**30:.2g} GiB of memory, {available / 2**30:.2g} GiB are free: {remedy}"
        )


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` items, and of at least one, that cover ``total``: what is in memory together.

    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, size)
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))
