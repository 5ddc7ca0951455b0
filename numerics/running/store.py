"""Unfinished work in one SQLite file, so that no death of any process loses what was finished.

A sweep or a validation keeps a row for each finished task; training, a solve or a figure the arrays that it goes on
from. One writer, which holds a lock for as long as it lives (the operating system frees the lock of a process that
dies, however it dies). Rows are committed in a transaction and synced to disk: what a commit has reported survives the
loss of power. Where the file system allows it the file is in WAL mode, so that `read_progress` reads while it is
written.

Values are stored as the little-endian bytes of an array: NaN and infinities included, bit for bit; no row holds more
than SQLite's 10^9 bytes. Each row has a checksum: SQLite notices a page that makes no sense, not a flipped bit in a
number.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import OutputError, ParameterError, WorkerError
from iclglass.numerics.running.resuming import ANEW, Program, check_header, header

__all__ = ["Key", "Progress", "Row", "Store", "checkpoint_path", "drop", "locked", "open_store", "read_progress"]

Key = int | str
"""What names a task, or an array of a state."""

_PATIENCE = 0.5
"""Seconds to wait for the lock: `read_progress` holds it for a moment to see whether it is free."""

_SQLITE_HEADER = 100
_DTYPES = ("<f8", "<i8", "|u1")

# A key has no affinity: a number stays a number, a text a text.
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE row (
    key PRIMARY KEY, status INTEGER NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL, finished REAL NOT NULL,
    form TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
"""


def checkpoint_path(output: str | Path) -> Path:
    """The store of an output file: beside it, with ``.checkpoint`` after its name."""
    path = Path(output)
    return path.parent / f"{path.name}.checkpoint"


def drop(path: Path) -> None:
    """Delete a file of unfinished work, if it is there, with what SQLite keeps beside it."""
    for file in _files(path):
        file.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Row:
    """One finished task, or one array of a state.

    Parameters
    ----------
    values : ndarray
        Doubles, whole numbers or bytes; what a failed task has not is NaN.
    status, message : int, str
        What became of it, a `numerics.status.Status`, and one sentence where it failed.
    seconds : float
        That it took.
    """

    values: NDArray[Any]
    status: int = 0
    message: str = ""
    seconds: float = 0.0

    def __eq__(self, other: object) -> bool:
        """Whether both are the same, bit for bit."""
        return isinstance(other, Row) and self._told() == other._told() and bytes(self._data) == bytes(other._data)

    __hash__ = None  # type: ignore[assignment]

    def _told(self) -> tuple[int, str, float, str]:
        """All but the values, with their type and shape."""
        form = " ".join([self.values.dtype.newbyteorder("<").str, *map(str, self.values.shape)])
        return int(self.status), self.message, float(self.seconds), form

    @property
    def _data(self) -> memoryview:
        return np.ascontiguousarray(self.values, dtype=self.values.dtype.newbyteorder("<")).data

    def record(self, key: Key) -> tuple[Any, ...]:
        """The columns of the table, but for the time."""
        told, data = self._told(), self._data
        return (key, *told, data, _checksum(key, *told, data))


def _checksum(key: Key, status: int, message: str, seconds: float, form: str, value: Any) -> int:
    return zlib.crc32(value, zlib.crc32(f"{key!r} {status} {message} {seconds!r} {form}".encode()))


def _row(key: Key, status: int, message: str, seconds: float, form: str, value: bytes, checksum: int) -> Row:
    if checksum != _checksum(key, status, message, seconds, form, value):
        raise ValueError(f"row {key} is not what was written")
    dtype, *shape = form.split()
    if dtype not in _DTYPES:
        raise ValueError(f"row {key} is of type {dtype}")
    return Row(np.frombuffer(value, dtype=dtype).reshape([int(size) for size in shape]), status, message, seconds)


class Store:
    """Open unfinished work. Made by `open_store`.

    Attributes
    ----------
    done : dict
        What the file holds, key -> `Row`.
    programs : list
        Those that have worked on it, this one last.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | None = None,
        path: Path | None = None,
        done: dict[Key, Row] | None = None,
        programs: Sequence[Program] = (),
    ) -> None:
        self._connection, self._path = connection, path
        self.done: dict[Key, Row] = {} if done is None else done
        self.programs = list(programs)
        self._holds = bool(self.done)

    def record(self, rows: Mapping[Key, Row]) -> None:
        """Add rows, or replace them, in one transaction; when it returns they are on disk.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        if self._connection is None or not rows:
            self.done.update(rows)
            return
        now = time.time()
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO row (key, status, message, seconds, form, value, checksum, finished) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    ((*row.record(key), now) for key, row in rows.items()),
                )
        except (sqlite3.Error, OverflowError) as error:
            kept = "what was finished before is kept, and the same command goes on from there"
            remedy = kept if self._holds else "make room, or choose another folder"
            raise OutputError(f"{self._path} cannot be written: {error}; {remedy}") from error
        self.done.update(rows)
        self._holds = True

    def remove(self) -> None:
        """Delete the file: its results are elsewhere now."""
        if self._connection is not None and self._path is not None:
            self._connection.close()
            self._connection = None
            drop(self._path)

    def close(self) -> None:
        """Let the file go; one without a row is deleted: there is nothing to go on from, and other parameters may
        come."""
        if self._connection is None:
            return
        empty = False
        with suppress(sqlite3.Error):  # damaged: then it is not ours to delete
            empty = not self._connection.execute("SELECT 1 FROM row LIMIT 1").fetchone()
        if empty:
            self.remove()
        else:
            self._connection.close()

    def told(self, error: BaseException) -> None:
        """Add to an error that ends the work what was kept of it, if anything was."""
        if self._connection is not None and self._holds:
            kept = f"what was finished is kept in {self._path}: the same command goes on from there"
            error.args = (f"{error}; {kept}" if error.args else kept,)


@contextmanager
def open_store(
    path: str | Path | None,
    work: str,
    parameters: Mapping[str, object],
    here: Program,
    *,
    total: int = 0,
    width: int | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> Iterator[Store]:
    """Open or create a file of unfinished work and hold its lock inside the block.

    Parameters
    ----------
    path : path or None
        Without one nothing is kept.
    work : str
        What it is, as "sweep"; part of the format's name.
    parameters : mapping
        All that results follow from, as JSON; a file of others is refused.
    here : Program
        The program at work, `numerics.running.resuming.program`.
    total : int
        Tasks in all, for `read_progress`.
    width : int or None
        So many doubles has each row; a file with others is damaged.
    fresh, resume_anyway : bool
        Drop what the file holds; take what another version of the program has left.

    Raises
    ------
    ParameterError
        The file is of other parameters (they are named).
    OutputError
        Another run is writing it; it is damaged, foreign or of another version; it cannot be written.

    An interrupt or a `WorkerError` that leaves the block says that what was finished is kept, where something was.
    """
    if path is None:
        yield Store(programs=[here])
        return
    file = Path(path)
    mine = header(work, parameters, here)  # takes a moment, in which there is no file yet to leave behind
    with locked(file):
        if fresh:
            try:
                drop(file)
            except OSError as error:
                raise OutputError(f"{file} cannot be replaced: {error}; choose another path") from error
        with _readable_errors(file, work):
            _refuse_others(file, work)
            connection = sqlite3.connect(file)
            try:
                programs = _begun(file, connection, mine, resume_anyway)
                store = Store(connection, file, _rows(connection, width), programs)
                _begin(connection, programs, total)  # what is refused is left as it was
            except BaseException:
                connection.close()
                raise
        try:
            yield store
        except (KeyboardInterrupt, WorkerError) as error:
            store.told(error)
            raise
        finally:
            store.close()


@contextmanager
def locked(path: str | Path, output: str | Path | None = None) -> Iterator[None]:
    """Hold the lock of a file inside the block, whether the file is there or not; output : what a refusal names.

    Raises
    ------
    OutputError
        Another run holds it, or the lock cannot be written.
    """
    file = Path(path)
    if not file.parent.is_dir():  # the lock would make it
        raise OutputError(f"{file.parent} is not a folder: create it first, or name another one")
    lock = filelock.FileLock(_lock_path(file))
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 5)
    except filelock.Timeout:
        if not _lock_path(file).exists():
            raise OutputError(f"{file} cannot be written: choose another folder") from None
        raise OutputError(
            f"{output or file} is being written by another run{_writer(file)}: wait for it, or choose another output"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{file} cannot be written: {error}; choose another folder") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # who waits for it notices
        lock.release()


def _begun(path: Path, connection: sqlite3.Connection, mine: Mapping[str, Any], resume_anyway: bool) -> list[Program]:
    """Make the file, or check it; the programs that have worked on it, this one last."""
    # A run that died while it made the file has left none of it.
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        started = {name: value if isinstance(value, str) else json.dumps(value) for name, value in mine.items()}
        with connection:
            connection.executescript("BEGIN;" + _TABLES)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", (started | {"started": repr(time.time())}).items())
        return list(mine["programs"])
    complaint = connection.execute("PRAGMA quick_check(1)").fetchone()
    if complaint != ("ok",):
        raise OutputError(f"{path} is damaged: {complaint[0]}; {ANEW} begins anew")
    return check_header(str(path), _meta(path, connection), mine, anyway=resume_anyway)


def _begin(connection: sqlite3.Connection, programs: Sequence[Program], total: int) -> None:
    """Say who writes, and make it safe."""
    connection.execute("PRAGMA journal_mode=WAL").fetchone()  # says what it got; anything is safe
    connection.execute("PRAGMA synchronous=FULL")
    now = {"writer": _whoami(), "total": str(total), "programs": json.dumps(programs, sort_keys=True)}
    with connection:
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", now.items())


def _refuse_others(path: Path, work: str) -> None:
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a folder, device or pipe: name a file")
    # SQLite takes a file that is shorter than its header for an empty one, and would write over it.
    if path.exists() and 0 < path.stat().st_size < _SQLITE_HEADER:
        raise OutputError(f"{path} is not an unfinished {work}: choose another output")


def _meta(path: Path, connection: sqlite3.Connection) -> dict[str, Any]:
    """The header."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        raise OutputError(
            f"{path} is empty: its driver has not begun, or died before it did; look again, or run the same command"
        )
    found = dict(connection.execute("SELECT key, value FROM meta")) if "meta" in tables else {}
    return {
        name: json.loads(value) if name in ("schema_version", "programs", "parameters") else str(value)
        for name, value in found.items()
    }


def _rows(connection: sqlite3.Connection, width: int | None) -> dict[Key, Row]:
    done = {}
    columns = "key, status, message, seconds, form, value, checksum"
    for key, *rest in connection.execute(f"SELECT {columns} FROM row ORDER BY key"):
        done[key] = _row(key, *rest)
        if width is not None and done[key].values.shape != (width,):
            raise ValueError(f"row {key} has values of shape {done[key].values.shape}, not ({width},)")
    return done


@contextmanager
def _readable_errors(path: Path, work: str) -> Iterator[None]:
    """What SQLite or the contents of a damaged file raise, as one clear error."""
    try:
        yield
    except ParameterError:
        raise
    except sqlite3.OperationalError as error:
        raise OutputError(f"{path} cannot be used: {error}; check its folder and the free space") from error
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path} is damaged, or not an unfinished {work}: {type(error).__name__}: {error}; choose another output, "
            f"or {ANEW} to begin anew"
        ) from error


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    points : in all.    finished : of those, with the failed.    failed : with another status than converged.
    running : whether a driver is at work.    writer : the last driver, "process 123 on host".
    started, last : seconds since the epoch; last is None where nothing has finished.
    seconds : of work in the finished points, over all workers.
    """

    points: int
    finished: int
    failed: int
    running: bool
    writer: str
    started: float
    last: float | None
    seconds: float


def read_progress(path: Path, work: str) -> Progress:
    """How far the work in a file is, whether its driver lives or not. Changes nothing.

    Raises
    ------
    OutputError
        No file is there, or it is damaged, foreign, or of another version.
    """
    if not path.is_file():
        raise OutputError(f"{path} does not exist: no {work} was begun there")
    _refuse_others(path, work)
    with _readable_errors(path, work), _reading(path) as connection:
        meta = _meta(path, connection)
        check_header(str(path), meta, header(work, {}, {}), anyway=True, look=True)
        row = connection.execute(
            "SELECT count(*), coalesce(sum(status != 0), 0), max(finished), coalesce(sum(seconds), 0) FROM row"
        ).fetchone()
        return Progress(
            points=int(meta["total"]),
            finished=int(row[0]),
            failed=int(row[1]),
            running=_is_locked(path),
            writer=meta["writer"],
            started=float(meta["started"]),
            last=None if row[2] is None else float(row[2]),
            seconds=float(row[3]),
        )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads, and changes nothing.

    A copy is read where SQLite would have to write: in a read-only folder it cannot look into a WAL, and what a run
    that died while it made the file had begun (a rollback journal) is undone first.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, mode = path, "ro"
        if not os.access(path.parent, os.W_OK) or (_part(path, "journal").exists() and not _is_locked(path)):
            for part in _files(path):
                with suppress(FileNotFoundError):
                    shutil.copy(part, folder)
            source, mode = Path(folder) / path.name, "rw"
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
            yield connection


def _is_locked(path: Path) -> bool:
    lock = _lock_path(path)
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # not ours to open: then not ours to know
        return False


def _writer(path: Path) -> str:
    """Who writes a file, where that can be read in it."""
    with suppress(sqlite3.Error, OutputError, OSError), _reading(path) as connection:
        found = connection.execute("SELECT value FROM meta WHERE key = 'writer'").fetchone()
        return f" ({found[0]})" if found else ""
    return ""


def _whoami() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _files(path: Path) -> tuple[Path, ...]:
    return (path, *(_part(path, name) for name in ("wal", "shm", "journal")))


def _part(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}-{name}")
