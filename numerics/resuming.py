"""What unfinished work on disk must share with the run that goes on with it: its parameters, and the program.

The program is told by its files, not by its commit: edits that are not committed count, a commit of a note does not.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.storage import source_digest

__all__ = ["differences", "digest", "program"]


def program() -> dict[str, str]:
    """What results follow from beside their parameters: a digest of the program's files, and versions.

    >>> list(program())
    ['source', 'iclglass', 'numpy', 'scipy']
    """
    return {"source": source_digest(), **{package: version(package) for package in ("iclglass", "numpy", "scipy")}}


def differences(there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """In words, what two records differ in; empty where they are equal.

    >>> differences({"ridge": 0.1, "seed": 0}, {"ridge": 0.2, "seed": 0})
    'ridge is 0.1 there and 0.2 here'
    """
    return "; ".join(
        f"{name} is {reprlib.repr(there.get(name))} there and {reprlib.repr(here.get(name))} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    )


def digest(*arrays: NDArray[Any]) -> str:
    """What names arrays among parameters: a hash of their bytes.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.zeros(3))
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
