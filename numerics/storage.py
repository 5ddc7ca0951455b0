"""Files: written to a temporary file, synced and moved into place; read back with one clear error.

A reader never sees half a file, and an existing file is not replaced unless asked. Datasets go to netCDF
through h5netcdf, with their provenance in one JSON string attribute.
"""

import hashlib
import json
import os
import platform
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from iclglass.numerics.arguments import check_flag, check_path
from iclglass.numerics.errors import OutputError, ParameterTypeError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "PROVENANCE",
    "check_readable",
    "check_writable",
    "load",
    "provenance",
    "replacing",
    "save",
    "source_digest",
    "uninterrupted",
]

PROVENANCE = "iclglass_provenance"
_SEAL = b"\niclglass SHA-256 "


def provenance(parameters: Mapping[str, object], *, seed: int | None = None) -> str:
    """Where a result comes from, as a JSON string: versions, git revision, source, parameters, seed, time (UTC).

    Examples:
        >>> sorted(json.loads(provenance({"ridge": 0.1})))
        ['git_revision', 'parameters', 'seed', 'source', 'time', 'versions']
    """
    packages = ("iclglass", "numpy", "scipy", "sympy", "xarray", "h5netcdf", "torch", "scikit-learn")
    versions = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    record = {
        "versions": versions,
        "git_revision": git_revision(),
        "source": source_digest(),
        "parameters": dict(parameters),
        "seed": seed,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(record, default=_plain, sort_keys=True)


def _plain(value: object) -> object:
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else str(value)


@cache
def source_digest() -> str:
    """A hash of the program's own files: of what computes, committed or not, installed or not.

    >>> len(source_digest())
    16
    """
    root = Path(__file__).resolve().parent.parent
    found = hashlib.sha256()
    for package in ("iclglass", "numerics", "replica", "validation"):
        for file in sorted((root / package).rglob("*.py")):
            found.update(f"{file.relative_to(root).as_posix()}\n".encode())
            found.update(file.read_bytes())
    return found.hexdigest()[:16]


def git_revision() -> str | None:
    """The commit of the checkout that this program runs from; None where it is installed.

    >>> git_revision() is None or len(git_revision()) == 40
    True
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return result.stdout.strip()
    return None


def check_writable(path: str | Path, *, force: bool) -> Path:
    """Refuse early, before any work, a path that cannot be written.

    Raises:
        OutputError: the file exists and ``force`` is false, its folder is missing or not writable, or it is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a file in it")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target} is a device or pipe, which is never replaced: name a file")
    if target.exists() and not force:
        raise OutputError(f"{target} exists: choose another name, or --force (force=True) to replace it")
    parent = target.parent
    if not parent.is_dir():
        raise OutputError(f"{parent} is not a folder: create it first, or name another one")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{parent} is not writable: choose another folder")
    return target


def check_readable(path: str | Path) -> Path:
    """Refuse what is no file: a folder, nothing at all, or a device or pipe, reading which might never end.

    Raises:
        OutputError: it says which.
    """
    source = Path(path)
    if source.is_dir():
        raise OutputError(f"{source} is a folder: name a file in it")
    if not source.exists():
        raise OutputError(f"{source} does not exist: check the name")
    if not source.is_file():
        raise OutputError(f"{source} is a device or pipe, which might never end: name a file")
    return source


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; a second one is not held back.

    The libraries that read and write files call Python from weak references and from C, where an exception is printed
    and dropped: an interrupt that fell there would be lost.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            previous(number, frame)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if len(held) == 1:
            previous(*held[0])


@contextmanager
def replacing(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and vanishes otherwise.

    Ctrl-C is held back until then: the file is whole, or the old one.

    Raises:
        OutputError: as `check_writable`, and when writing fails (full disk, for instance).
    """
    with uninterrupted():
        yield from _replacing(path, force=force)


def _replacing(path: str | Path, *, force: bool) -> Iterator[Path]:
    target = check_writable(path, force=force)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error}") from error
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes a private file; a result gets the permissions any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
        with suppress(OSError):
            _sync(target.parent)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@runtime_checkable
class DatasetWithLines(Protocol):
    """A `numerics.phase_diagram.PhaseDiagram`, which stands on this module: it is saved as its dataset."""

    lines: Any

    def to_dataset(self) -> "xr.Dataset":
        """The dataset to write."""


def save(dataset: "xr.Dataset | DatasetWithLines", path: str | Path, *, force: bool = False) -> None:
    """Write a dataset to netCDF, atomically.

    Behind the end of the netCDF file, where readers do not look, stands the SHA-256 of its bytes: netCDF has no
    checksum of its own, and `load` would take a flipped bit for a result. A program that changes the file drops it.

    Args:
        dataset: what to write; dtypes, NaN, infinities and attributes survive. A `PhaseDiagram` is written as its
            dataset with the lines, which `load` gives back.
        path: file to write, usually *.nc.
        force: replace an existing file.

    Raises:
        OutputError: the file exists, or cannot be written.
        ParameterTypeError: not a dataset.
    """
    import xarray as xr

    if isinstance(dataset, DatasetWithLines):
        dataset = dataset.to_dataset()
    if not isinstance(dataset, xr.Dataset):
        raise ParameterTypeError(
            f"dataset must be an xarray.Dataset, as sweep returns it, or a PhaseDiagram, got {type(dataset).__name__}"
        )
    check_flag("force", force)
    with replacing(check_path("path", path), force=force) as temporary:
        # Through memory: on a full disk HDF5 raises RuntimeError and crashes at exit, a plain write says ENOSPC.
        content = dataset.to_netcdf(engine="h5netcdf")
        with temporary.open("wb") as file:
            file.write(content)
            file.write(_SEAL + hashlib.sha256(content).hexdigest().encode())


def load(path: str | Path) -> "xr.Dataset":
    """Read a dataset written by `save` into memory.

    Raises:
        OutputError: the file is missing, damaged, or was not written by iclglass.
    """
    import h5py
    import xarray as xr

    source = check_readable(check_path("path", path))
    try:
        if not _seal_holds(source):
            raise OutputError(f"{source} is damaged: its bytes are not those that were written")
        # h5netcdf complains on stderr when it collects a file whose root it could not open: look first.
        with uninterrupted(), h5py.File(source, "r") as file:
            file["/"]
        with uninterrupted(), xr.open_dataset(source, engine="h5netcdf") as dataset:
            result = dataset.load()
    except OutputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        raise OutputError(f"{source} is damaged or not a netCDF-4 file: {error}") from error
    if PROVENANCE not in result.attrs:
        raise OutputError(f"{source} was not written by iclglass: it has no attribute {PROVENANCE}")
    return result


def _seal_holds(source: Path) -> bool:
    """Whether the bytes are those that the seal was made of; true where there is none."""
    size = len(_SEAL) + 2 * hashlib.sha256().digest_size
    with source.open("rb") as file:
        body = max(0, file.seek(0, os.SEEK_END) - size)
        file.seek(body)
        seal = file.read()
        if not seal.startswith(_SEAL):
            return _SEAL not in seal  # one further on is cut off
        file.seek(0)
        found = hashlib.sha256()
        while body > 0:
            part = file.read(min(body, 1 << 20))
            found.update(part)
            body -= len(part)
        return seal == _SEAL + found.hexdigest().encode()
