"""Finished samples on disk, one JSON line each, so that an interrupted simulation resumes where it stopped.

The file is append-only. The first line holds the parameters of the law sampled, the seed and the program;
every further line one finished sample, named by its dimension and index, which fix its random numbers. So a file serves
any list of dimensions and any number of samples of the same parameters. Each line is handed to the
operating system when it is written: a killed process loses at most the line it was writing, and the torn line
is dropped on resuming. Where another version of the program goes on, asked to, it writes a line that says so.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running.resuming import Program, differences, going_on, program

__all__ = ["Checkpoint", "open_checkpoint"]

_FORMAT = "iclglass finite-size samples"
_SCHEMA_VERSION = 4
_MODULES = ("iclglass.validation.simulation",)
"""What the samples follow from, with all that it imports."""

Key = tuple[int, int]
"""(dimension, sample index)."""


@dataclass(frozen=True)
class Checkpoint:
    """An open file of finished samples.

    done: values found in the file, by (dimension, sample index).    programs: which have written to it.
    """

    done: Mapping[Key, Mapping[str, float]]
    programs: Sequence[Program]
    _stream: TextIO | None

    def append(self, key: Key, values: Mapping[str, float]) -> None:
        """Add one finished sample; does nothing without a file. OutputError if it cannot be written."""
        if self._stream is None:
            return
        # NaN and inf are not JSON; float() reads them back from strings
        plain = {name: value if -1e309 < value < 1e309 else str(value) for name, value in values.items()}
        entry: dict[str, object] = {"dimension": key[0], "sample": key[1], "values": plain}
        try:
            self._stream.write(_line(entry))
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write checkpoint {self._stream.name}: {error}") from error


@contextmanager
def open_checkpoint(
    path: str | Path | None, parameters: Mapping[str, object], *, fresh: bool = False, resume_anyway: bool = False
) -> Iterator[Checkpoint]:
    """Open or create the file and read what it holds; without a path an empty checkpoint that keeps nothing.

    With ``fresh`` what the file holds is dropped: it starts empty. With ``resume_anyway`` it may be of another version
    of the program.

    Raises ParameterError if the file belongs to other parameters (it names them), OutputError if it is no
    checkpoint or one of another version of the program, is damaged before its last line, or cannot be read or
    written. Without ``fresh`` a file is never overwritten.
    """
    here = program(*_MODULES)
    if path is None:
        yield Checkpoint({}, [here], None)
        return
    described = {"format": _FORMAT, "schema_version": _SCHEMA_VERSION}
    header = json.dumps({**described, "program": here, "parameters": dict(parameters)}) + "\n"
    file = Path(path)
    try:
        if fresh:
            file.unlink(missing_ok=True)
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise OutputError(f"cannot open checkpoint {file}: it is a device or pipe; choose another path")
        content = file.read_bytes() if file.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and not header.encode().startswith(content):
            raise _foreign(file)
        found, done = _parse(file, whole.decode("utf-8"), parameters) if whole else ([here], {})
        work = f"checkpoint {file}"
        programs = going_on(work, found, here, anyway=resume_anyway)
        stream = file.open("a", encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _foreign(file) from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot open checkpoint {file}: {error}; choose another path") from error
    with stream:
        try:
            stream.truncate(len(whole))
            if not whole:
                stream.write(header)
            if len(programs) > len(found):
                stream.write(_line({"program": here}))
            stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write checkpoint {file}: {error}") from error
        yield Checkpoint(done, programs, stream)


def _line(entry: Mapping[str, object]) -> str:
    return json.dumps({**entry, "check": _checksum(entry)}) + "\n"


def _checksum(entry: Mapping[str, object]) -> int:
    """CRC-32 of a line's JSON: a flipped bit in a digit is a number like any other."""
    return zlib.crc32(json.dumps(entry).encode())


def _foreign(file: Path) -> OutputError:
    return OutputError(f"{file} is not a checkpoint of this program; choose another path")


def _parse(
    file: Path, text: str, parameters: Mapping[str, object]
) -> tuple[list[Program], dict[Key, dict[str, float]]]:
    """The programs that have written a file, and samples by key, from its whole lines."""
    first, *lines = text.split("\n")[:-1]
    try:
        header = json.loads(first)
        found = header["parameters"] if header["format"] == _FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _foreign(file) from error
    if not isinstance(found, dict):
        raise _foreign(file)
    if header.get("schema_version") != _SCHEMA_VERSION:
        raise OutputError(
            f"{file} has schema version {header.get('schema_version')}, this program reads {_SCHEMA_VERSION}: finish "
            "it with the program that began it, choose another path, or --force (fresh=True) to begin anew"
        )
    if others := differences(found, parameters):
        raise ParameterError(
            f"checkpoint {file} belongs to other parameters: {others}; choose another path or the same parameters"
        )
    programs: list[Program] = [header.get("program") or {}]
    done: dict[Key, dict[str, float]] = {}
    for number, line in enumerate(lines, start=2):
        try:
            entry = json.loads(line)
            if entry.pop("check") != _checksum(entry):
                raise ValueError("its checksum is another")
            if "program" in entry:
                programs.append(entry["program"])
                continue
            key = int(entry["dimension"]), int(entry["sample"])
            done[key] = {str(name): float(value) for name, value in entry["values"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise OutputError(
                f"checkpoint {file} is damaged at line {number}; remove that line, and its sample is drawn again"
            ) from error
    return programs, done
