"""Finished points of a sweep in one SQLite file, so that no death of any process loses one.

One writer, the driver, which holds a lock for as long as it lives (the operating system frees the lock of a process
that dies, however it dies). Results are committed in a transaction and synced to disk: what a commit has reported
survives the loss of power. Where the file system allows it the file is in WAL mode, so that `read_progress` reads
while the driver writes.

A point's values are stored as the bytes of little-endian doubles: NaN and infinities included, bit for bit. Each point
has a checksum: SQLite notices a page that makes no sense, not a flipped bit in a number.
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

import filelock
import numpy as np

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.resuming import Program, differences, going_on, program
from iclglass.validation.sweeping.evaluation import PointResult

__all__ = ["MODULES", "Checkpoint", "Progress", "checkpoint_path", "open_checkpoint", "read_progress"]

FORMAT = "iclglass sweep"
SCHEMA_VERSION = 2

MODULES = ("iclglass.validation.sweeping.grid", "iclglass.validation.sweeping.evaluation")
"""What the points of a sweep follow from, with all that these import."""

_PATIENCE = 0.5
"""Seconds to wait for the lock: `read_progress` holds it for a moment to see whether it is free."""

_SQLITE_HEADER = 100

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE point (
    number INTEGER PRIMARY KEY, status INTEGER NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL,
    finished REAL NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL
);
"""


def checkpoint_path(output: str | Path) -> Path:
    """The checkpoint of an output file: beside it, with ``.checkpoint`` after its name."""
    path = Path(output)
    return path.parent / f"{path.name}.checkpoint"


class Checkpoint:
    """An open checkpoint. Made by `open_checkpoint`.

    done: what the file holds, number of the point -> result.    programs: which have worked on it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | None,
        path: Path | None,
        done: dict[int, PointResult],
        programs: Sequence[Program] = (),
    ) -> None:
        self._connection, self._path, self.done, self.programs = connection, path, done, programs

    def record(self, results: Sequence[tuple[int, PointResult]]) -> None:
        """Add finished points in one transaction; when it returns they are on disk.

        Raises OutputError: the file cannot be written.
        """
        self.done.update(results)
        if self._connection is None or not results:
            return
        now = time.time()
        rows = []
        for number, found in results:
            value = np.array(found.values, dtype="<f8").tobytes()
            row = (number, int(found.status), found.message, float(found.seconds))
            rows.append((*row, now, value, _checksum(*row, value)))
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise OutputError(
                f"{self._path} cannot be written: {error}; what was finished before is kept, and the same command goes "
                "on from there"
            ) from error

    def remove_if_empty(self) -> None:
        """Delete a file without a point: there is nothing to go on from, and other parameters may come."""
        with suppress(sqlite3.Error):  # closed, or damaged: then it is not ours to delete
            if self._connection is not None and not self._connection.execute("SELECT 1 FROM point LIMIT 1").fetchone():
                self.remove()

    def remove(self) -> None:
        """Delete the file: its results are elsewhere now."""
        if self._connection is not None and self._path is not None:
            self._connection.close()
            _unlink(self._path)


@contextmanager
def open_checkpoint(
    path: Path | None,
    parameters: Mapping[str, object],
    *,
    points: int,
    columns: Sequence[str],
    fresh: bool = False,
    resume_anyway: bool = False,
) -> Iterator[Checkpoint]:
    """Open or create the checkpoint and hold its lock inside the block; without a path one that keeps nothing.

    parameters : all that results follow from; a file of others is refused. fresh : drop what the file holds.
    resume_anyway : take what another version of the program has left.

    Raises ParameterError for a file of other parameters (it names them); OutputError for a file that another driver is
    writing, that is damaged, foreign or of another version, or that cannot be written.
    """
    if path is None:
        yield Checkpoint(None, None, {})
        return
    header = _header(parameters, points, columns)  # takes a moment, in which there is no file yet to leave behind
    lock = filelock.FileLock(_lock_path(path))
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 5)
    except filelock.Timeout:
        if not _lock_path(path).exists():
            raise OutputError(f"{path} cannot be written: choose another folder") from None
        raise OutputError(
            f"{path} is being written by another sweep{_writer(path)}: wait for it, or choose another output"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{path} cannot be written: {error}; choose another folder") from error
    try:
        if fresh:
            try:
                _unlink(path)
            except OSError as error:
                raise OutputError(f"{path} cannot be replaced: {error}") from error
        with _readable_errors(path):
            connection = _connect(path)
            try:
                programs = _prepare(path, connection, header, resume_anyway)
                checkpoint = Checkpoint(connection, path, _read_points(connection, len(columns)), programs)
            except BaseException:
                connection.close()
                raise
        with closing(connection):
            try:
                yield checkpoint
            finally:
                checkpoint.remove_if_empty()
    finally:
        if not path.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _connect(path: Path) -> sqlite3.Connection:
    _refuse_short(path)
    return sqlite3.connect(path)


def _prepare(
    path: Path, connection: sqlite3.Connection, header: Mapping[str, str], resume_anyway: bool
) -> list[Program]:
    """Make the file, or check it; the programs that have worked on it, this one last."""
    # A driver that died while it made the file has left none of it.
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        _write_new(connection, header)
        programs = list(json.loads(header["programs"]))
    else:
        programs = _check(path, connection, header, resume_anyway)
    connection.execute("PRAGMA journal_mode=WAL").fetchone()  # says what it got; anything is safe
    connection.execute("PRAGMA synchronous=FULL")
    with connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('writer', ?)", (_whoami(),))
        text = json.dumps(programs, sort_keys=True)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'programs' AND value != ?", (text, text))
    return programs


def _refuse_short(path: Path) -> None:
    # SQLite takes a file that is shorter than its header for an empty one, and would write over it.
    if path.exists() and 0 < path.stat().st_size < _SQLITE_HEADER:
        raise OutputError(f"{path} is not a checkpoint of a sweep: choose another output")


def _write_new(connection: sqlite3.Connection, header: Mapping[str, str]) -> None:
    with connection:
        connection.executescript("BEGIN;" + _TABLES)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", header.items())


def _header(parameters: Mapping[str, object], points: int, columns: Sequence[str]) -> dict[str, str]:
    return {
        "format": FORMAT,
        "schema_version": str(SCHEMA_VERSION),
        "programs": json.dumps([program(*MODULES)], sort_keys=True),
        "parameters": json.dumps(dict(parameters), sort_keys=True, allow_nan=False),
        "columns": json.dumps(list(columns)),
        "points": str(points),
        "started": repr(time.time()),
    }


def _meta(path: Path, connection: sqlite3.Connection) -> dict[str, str]:
    """The header, if it is one of this program and version."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        raise OutputError(
            f"{path} is empty: its driver has not begun, or died before it did; look again, or run the same command"
        )
    meta = dict(connection.execute("SELECT key, value FROM meta")) if {"meta", "point"} <= tables else {}
    if meta.get("format") != FORMAT:
        raise OutputError(f"{path} is not a checkpoint of a sweep: choose another output")
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        raise OutputError(
            f"{path} is a checkpoint of schema version {meta.get('schema_version')}, this program writes "
            f"{SCHEMA_VERSION}: finish it with the program that began it, or --force (force=True) to begin anew"
        )
    return {str(key): str(value) for key, value in meta.items()}


def _check(path: Path, connection: sqlite3.Connection, header: Mapping[str, str], resume_anyway: bool) -> list[Program]:
    """Refuse a file that is damaged, or whose results must not be mixed with ours; the programs of one that is not."""
    complaint = connection.execute("PRAGMA quick_check(1)").fetchone()
    if complaint != ("ok",):
        raise OutputError(f"{path} is damaged: {complaint[0]}; --force (force=True) begins anew")
    meta = _meta(path, connection)
    there, here = json.loads(meta["parameters"]), json.loads(header["parameters"])
    if others := differences(there, here):
        raise ParameterError(
            f"{path} holds an unfinished sweep of other parameters: {others}; choose another output, or --force "
            "(force=True) to begin anew"
        )
    (here,) = json.loads(header["programs"])
    return going_on(str(path), json.loads(meta["programs"]), here, anyway=resume_anyway, anew="--force (force=True)")


def _read_points(connection: sqlite3.Connection, columns: int) -> dict[int, PointResult]:
    done = {}
    for number, status, message, seconds, value, checksum in connection.execute(
        "SELECT number, status, message, seconds, value, checksum FROM point ORDER BY number"
    ):
        if checksum != _checksum(number, status, message, seconds, value):
            raise sqlite3.DatabaseError(f"point {number} is not what was written")
        values = np.frombuffer(value, dtype="<f8")
        if values.size != columns:
            raise sqlite3.DatabaseError(f"point {number} has {values.size} values, not {columns}")
        done[int(number)] = PointResult(tuple(values.tolist()), int(status), str(message), float(seconds))
    return done


def _checksum(number: int, status: int, message: str, seconds: float, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(f"{number} {status} {message} {seconds!r}".encode()))


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """What SQLite or the contents of a damaged file raise, as one clear error."""
    try:
        yield
    except ParameterError:
        raise
    except sqlite3.OperationalError as error:
        raise OutputError(f"{path} cannot be used: {error}; check its folder and the free space") from error
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is damaged, or not a checkpoint of a sweep: {type(error).__name__}: {error}; choose another "
            "output, or --force (force=True) to begin anew"
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


def read_progress(path: Path) -> Progress:
    """How far the sweep of a checkpoint is, whether its driver lives or not. Changes nothing.

    Raises OutputError: no checkpoint there, damaged, foreign, or of another version.
    """
    if not path.is_file():
        raise OutputError(f"{path} does not exist: no sweep was begun there")
    _refuse_short(path)
    with _readable_errors(path), _reading(path) as connection:
        meta = _meta(path, connection)
        row = connection.execute(
            "SELECT count(*), coalesce(sum(status != 0), 0), max(finished), coalesce(sum(seconds), 0) FROM point"
        ).fetchone()
        return Progress(
            points=int(meta["points"]),
            finished=int(row[0]),
            failed=int(row[1]),
            running=_is_locked(path),
            writer=meta.get("writer", "unknown"),
            started=float(meta["started"]),
            last=None if row[2] is None else float(row[2]),
            seconds=float(row[3]),
        )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads, and changes nothing.

    A copy is read where SQLite would have to write: in a read-only folder it cannot look into a WAL, and what a driver
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
    with suppress(OutputError):
        return f" ({read_progress(path).writer})"
    return ""


def _whoami() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _files(path: Path) -> tuple[Path, ...]:
    return (path, *(_part(path, name) for name in ("wal", "shm", "journal")))


def _part(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}-{name}")


def _unlink(path: Path) -> None:
    for file in _files(path):
        file.unlink(missing_ok=True)
