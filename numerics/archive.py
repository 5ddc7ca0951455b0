"""Arrays from .npz files of anybody, which cannot run code, exhaust memory or pass for what they are not."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.memory import check_memory
from iclglass.numerics.storage import check_readable, one_error

__all__ = ["read_arrays"]

_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, RuntimeError, OverflowError, SyntaxError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What spoiled bytes of an archive or of an array's header make NumPy and zipfile raise."""


def read_arrays(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file whose names are wanted; the others are not even unpacked.

    The archive's checksums are those of its arrays: a flipped bit is found.

    Raises OutputError: the file is missing, no regular file, no .npz, damaged, would not fit in memory unpacked, or
    holds pickled objects (they could run code).
    """
    source = check_readable(path)
    with one_error(f"{source} is damaged or not an .npz file", *_DAMAGE):
        if not zipfile.is_zipfile(source):  # np.load would try it as .npy or as a pickle
            raise OutputError(f"{source} is damaged or not an .npz file: it is not a zip archive")
        # Opened here: np.load forgets to close a file that turns out to be damaged.
        with source.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = [name for name in file.files if wanted(name)]
            _refuse_bomb(source, file.zip, names)
            return {name: _plain(source, name, file) for name in names}


def _refuse_bomb(source: Path, archive: zipfile.ZipFile, names: list[str]) -> None:
    """A small file can unpack to any size."""
    sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    try:
        check_memory(sum(sizes[name] for name in names), what="its arrays", remedy="take a smaller file")
    except ParameterError as error:
        raise OutputError(f"{source} does not fit in memory: {error}") from error


def _plain(source: Path, name: str, file: Any) -> NDArray[Any]:
    try:
        value = file[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise OutputError(f"{source} holds pickled objects, which could run code: save plain arrays") from error
        raise
    # A member whose first bytes are spoiled comes back as bytes.
    if not isinstance(value, np.ndarray):
        raise OutputError(f"{source} is damaged or not an .npz file: {name} is no array")
    return value
