"""The authors' data files, read from a user's own copy of their repository.

Layout (yu-hao-Li/spin-glass-model-of-in-context-learning): fig-1/data/*.npy, .., fig-S1/data-a/*.npy, .. Nothing of it
is part of this project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import OutputError

__all__ = ["check_layout", "of_shape", "read_published"]

Array = NDArray[Any]


def check_layout(folder: str | Path) -> Path:
    """The folder, if it holds at least one data file of the authors' layout.

    Raises:
        OutputError: it does not exist, or holds none.
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


def read_published(folder: str | Path, names: Iterable[str]) -> tuple[dict[str, Array], list[str]]:
    """Arrays by relative name, and a sentence for every file that is missing or damaged.

    Raises:
        OutputError: the folder does not have the authors' layout.
    """
    root = check_layout(folder)
    arrays: dict[str, Array] = {}
    remarks: list[str] = []
    for name in names:
        file = root / name
        if not file.is_file():
            remarks.append(f"published {name} is missing and left out")
            continue
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            remarks.append(f"published {name} is damaged and left out: {str(error).splitlines()[0]}")
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            remarks.append(f"published {name} is damaged and left out: not an array of real numbers")
        else:
            arrays[name] = array
    return arrays, remarks


def of_shape(published: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> Array | None:
    """The array as doubles if it is there, finite, and has the shape the paper's parameters give it; else None.

    >>> of_shape({"a.npy": np.zeros(2)}, "a.npy", (3,)) is None
    True
    """
    array = published.get(name)
    if array is None or array.shape != shape or not np.all(np.isfinite(array)):
        return None
    return array.astype(np.float64)
