"""Files: written to a temporary file, synced and moved into place; read back with one clear error.

A reader never sees half a file, and an existing file is not replaced unless asked. Datasets go to netCDF
through h5netcdf, with their provenance in one JSON string attribute.
"""

import hashlib
import io
import json
import mmap
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from iclglass.numerics.arguments import check_flag, check_path
from iclglass.numerics.errors import OutputError, ParameterTypeError
from iclglass.numerics.running.resuming import Program, described, program, versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "PROVENANCE",
    "check_readable",
    "check_writable",
    "from_bytes",
    "load",
    "one_error",
    "provenance",
    "replacing",
    "save",
    "to_bytes",
    "uninterrupted",
    "without_time",
]

PROVENANCE = "iclglass_provenance"
_SEAL = b"\niclglass SHA-256 "


def provenance(
    parameters: Mapping[str, object],
    *,
    seed: int | None = None,
    modules: Sequence[str] = (),
    programs: Sequence[Program] = (),
) -> str:
    """Where a result comes from, as a JSON string: versions, git revision, source, parameters, seed, time (UTC).

    parameters: all that it follows from, as plain values, arrays or names of files.
    modules: those that compute it; by default all. Recorded are the digests of the code of these and of what they
        import, and as ``source`` one digest for all.
    programs: which worked on it one after another; recorded as ``programs`` where there are several.

    Raises ParameterTypeError: a parameter that JSON cannot hold exactly.

    >>> sorted(json.loads(provenance({"ridge": 0.1})))
    ['git_revision', 'modules', 'parameters', 'seed', 'source', 'time', 'versions']
    """
    packages = ("iclglass", "numpy", "scipy", "sympy", "xarray", "h5netcdf", "torch", "scikit-learn")
    here = program(*modules)
    record = {
        "versions": {"python": platform.python_version(), **versions(*packages)},
        "git_revision": git_revision(),
        "source": described(here)["source"],
        "modules": here["modules"],
        "parameters": dict(parameters),
        "seed": seed,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if len(programs) > 1:
        record["programs"] = [described(each) for each in programs]
    return json.dumps(record, default=_plain, sort_keys=True)


def without_time(provenance: str) -> dict[str, object]:
    """What tables in JSON say of where they come from: the same for a run that was interrupted and one that was not.

    >>> sorted(without_time(provenance({"ridge": 0.1})))
    ['git_revision', 'source', 'versions']
    """
    record = json.loads(provenance)
    return {name: record[name] for name in ("versions", "git_revision", "source", "programs") if name in record}


def _plain(value: object) -> object:
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # Its text may leave out what makes it different from another.
    raise ParameterTypeError(f"{type(value).__name__} cannot be recorded exactly: give plain values or arrays")


@cache
def git_revision() -> str | None:
    """The commit of the checkout that this program runs from; None where it is installed.

    >>> git_revision() is None or len(git_revision()) == 40
    True
    """
    file = Path(__file__).resolve()  # an editable install has links to the files of the checkout
    if not any((folder / ".git").exists() for folder in file.parents):
        return None
    with suppress(OSError, subprocess.SubprocessError):
        # An environment inside somebody's repository holds files that are not of its commits.
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        return _git(file.parent, "rev-parse", "HEAD")
    return None


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()


def check_writable(path: str | Path, *, force: bool) -> Path:
    """Refuse early, before any work, a path that cannot be written.

    Raises OutputError: the file exists and ``force`` is false, its folder is missing or not writable, or it is a
    folder.
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

    Raises OutputError: it says which.
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

    Raises OutputError: as `check_writable`, and when writing fails (full disk, for instance).
    """
    target = check_writable(path, force=force)
    with uninterrupted(), one_error(f"{target} cannot be written", OSError):
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            # mkstemp makes a private file; a result gets the permissions any new file would have.
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            _move(temporary, target, force=force)
            with suppress(OSError):
                _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def one_error(message: str, *kinds: type[BaseException]) -> Iterator[None]:
    """What libraries raise as one OutputError that says what it means; one that was raised on purpose stays."""
    try:
        yield
    except OutputError:
        raise
    except kinds as error:
        raise OutputError(f"{message}: {error}") from error


def _move(temporary: Path, target: Path, *, force: bool) -> None:
    """Put a file into its place; without ``force`` not where another run has put one meanwhile."""
    if not force:
        with suppress(OSError):  # a file system without hard links
            try:
                os.link(temporary, target)
                return
            except FileExistsError:
                check_writable(target, force=False)
    temporary.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@runtime_checkable
class DatasetWithLines(Protocol):
    """A `numerics.phase_diagram.PhaseDiagram`, which stands on this module: it is saved as its dataset."""

    @property
    def lines(self) -> Any:
        """What a dataset has not."""

    def to_dataset(self) -> "xr.Dataset":
        """The dataset to write."""


def save(dataset: "xr.Dataset | DatasetWithLines", path: str | Path, *, force: bool = False) -> None:
    """Write a dataset to netCDF, atomically.

    Arrays carry HDF5's checksum (Fletcher-32), with which any program that reads netCDF-4 finds a flipped bit in them.
    It knows nothing of scalars, texts, attributes and of what leads to the arrays, where a flipped bit can make HDF5
    give other numbers or never come back. So behind the end of the file, where readers do not look, stands the SHA-256
    of its bytes, which `load` checks first; a program that changes the file drops it. The numbers are in
    notes/decisions/0009-checksums-of-files.md.

    Parameters
    ----------
    dataset
        what to write; dtypes, NaN, infinities and attributes survive. A `PhaseDiagram` is written as its dataset with
        the lines, which `load` gives back.
    path
        file to write, usually *.nc.
    force
        replace an existing file.

    Raises
    ------
    OutputError
        the file exists, or cannot be written.
    ParameterTypeError
        not a dataset.
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
        content = to_bytes(dataset)
        with temporary.open("wb") as file:
            file.write(content)
            file.write(_SEAL + hashlib.sha256(content).hexdigest().encode())


def to_bytes(dataset: "xr.Dataset") -> bytes:
    """A dataset as the bytes of a netCDF file."""
    checked = dataset.copy()
    for variable in checked.variables.values():
        # HDF5 filters chunks, which scalars, empty arrays and texts of any length do not have.
        if variable.size and variable.ndim and variable.dtype.kind in "biuf":
            variable.encoding = {**variable.encoding, "fletcher32": True, "contiguous": False}
    # In a worker of Dask xarray would ask the cluster for a lock; these bytes are nobody else's.
    dask = sys.modules.get("dask")
    with dask.config.set(scheduler="synchronous") if dask else nullcontext():
        return bytes(checked.to_netcdf(engine="h5netcdf"))


def from_bytes(content: bytes) -> "xr.Dataset":
    """The dataset that `to_bytes` was given.

    >>> import xarray as xr
    >>> from_bytes(to_bytes(xr.Dataset({"a": ("x", [1, 2])}))).a.values
    array([1, 2])
    """
    import xarray as xr

    with uninterrupted(), xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as dataset:
        return dataset.load()


def load(path: str | Path) -> "xr.Dataset":
    """Read a dataset written by `save` into memory.

    Raises
    ------
    OutputError
        the file is missing, damaged, or was not written by iclglass.
    """
    import h5py
    import xarray as xr

    source = check_readable(check_path("path", path))
    damage = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, MemoryError)
    with one_error(f"{source} is damaged or not a netCDF-4 file", *damage):
        if not _seal_holds(source):
            raise OutputError(f"{source} is damaged: its bytes are not those that were written")
        # h5netcdf complains on stderr when it collects a file whose root it could not open: look first.
        with uninterrupted(), h5py.File(source, "r") as file:
            file["/"]
        with uninterrupted(), xr.open_dataset(source, engine="h5netcdf") as dataset:
            result = dataset.load()
    if PROVENANCE not in result.attrs:
        raise OutputError(f"{source} was not written by iclglass: it has no attribute {PROVENANCE}")
    return result


def _seal_holds(source: Path) -> bool:
    """Whether the bytes are those that the seal was made of; true where there is none."""
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(_SEAL)
        with memoryview(content)[: max(end, 0)] as body:
            return end < 0 or content[end:] == _SEAL + hashlib.sha256(body).hexdigest().encode()
