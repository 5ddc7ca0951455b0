"""The authors' data files, read from a user's own copy of their repository.

Layout (yu-hao-Li/spin-glass-model-of-in-context-learning): fig-1/data/*.npy, .., fig-S1/data-a/*.npy, .. Nothing of it
is part of this project.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import OutputError

__all__ = ["Published", "all_of_shape", "check_layout", "of_shape", "read_published"]

Array = NDArray[Any]


def check_layout(folder: str | Path) -> Path:
    """The folder, if it holds at least one data file of the authors' layout.

    Raises
    ------
    OutputError
        It does not exist, or holds none.
    """
    root = Path(folder)
    if not root.is_dir():
        raise OutputError(f"{root} is not a folder: name the root of a copy of the authors' repository")
    if not any(root.glob("fig-*/data*/*.npy")):
        raise OutputError(
            f"{root} does not have the authors' layout: expected files such as fig-2/data/m.npy, "
            "fig-S1/data-a/alphas.npy or fig-S7/data/zero-ratio.npy in it; name the folder that holds fig-1 .. fig-S8"
        )
    return root


class Published(dict[str, Array]):
    """Arrays by relative name, and a sentence by name about what is missing, damaged, misshapen or assumed."""

    def __init__(self) -> None:
        super().__init__()
        self.remarks: dict[str, str] = {}


def read_published(folder: str | Path, names: Iterable[str]) -> Published:
    """The arrays that are there and hold real numbers; the others are named in the remarks.

    Raises
    ------
    OutputError
        The folder does not have the authors' layout.
    """
    root = check_layout(folder)
    found = Published()
    for name in names:
        file = root / name
        if not file.is_file():
            found.remarks[name] = f"published {name} is missing and left out"
            continue
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            found.remarks[name] = f"published {name} is damaged and left out: {reason}"
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            found.remarks[name] = f"published {name} is damaged and left out: not an array of real numbers"
        else:
            found[name] = array
    return found


def of_shape(published: Mapping[str, Array], name: str, shape: tuple[int, ...], *, finite: bool = True) -> Array | None:
    """The array as doubles in the shape the paper's parameters give it; None if it is not there or does not fit.

    Axes of length one, a transposed array and one flattened row by row are put right. What is left out or put right is
    said in the remarks of a `Published`. finite: NaN and infinities are not accepted.

    >>> of_shape({"a.npy": np.zeros((3, 1))}, "a.npy", (3,)).shape
    (3,)
    >>> found = Published()
    >>> found["a.npy"] = np.zeros(2)
    >>> of_shape(found, "a.npy", (3,)) is None
    True
    >>> found.remarks["a.npy"]
    'published a.npy is left out: expected shape (3,), found (2,)'
    """
    array = published.get(name)
    if array is None:
        return None
    arranged, remark = _arranged(array, shape)
    if arranged is not None and finite and not np.all(np.isfinite(arranged)):
        remark = f"is left out: {np.sum(~np.isfinite(arranged))} of its {arranged.size} numbers are not finite"
        arranged = None
    if remark and isinstance(published, Published):
        published.remarks[name] = f"published {name} {remark}"
    return None if arranged is None else arranged.astype(np.float64)


def all_of_shape(published: Mapping[str, Array], names: Iterable[str], shape: tuple[int, ...]) -> list[Array] | None:
    """Arrays that belong together, each `of_shape`; None if one is not there or does not fit.

    >>> all_of_shape({"a.npy": np.zeros(3)}, ["a.npy", "b.npy"], (3,)) is None
    True
    """
    found = [of_shape(published, name, shape) for name in names]
    arrays = [array for array in found if array is not None]
    return arrays if len(arrays) == len(found) else None


def _arranged(array: Array, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """The array in a shape, and what had to be done or why it cannot be."""
    wanted = tuple(length for length in shape if length > 1)
    squeezed = np.squeeze(array)
    if squeezed.shape == wanted:
        return squeezed.reshape(shape), ""
    found = f"found shape {array.shape} where {shape} was expected"
    if squeezed.shape == wanted[::-1]:
        return squeezed.T.reshape(shape), f"is taken as transposed: {found}"
    if squeezed.ndim == 1 and squeezed.size == math.prod(shape):
        return squeezed.reshape(shape), f"is read row by row: {found}"
    return None, f"is left out: expected shape {shape}, found {array.shape}"
