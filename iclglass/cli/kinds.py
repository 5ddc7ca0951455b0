"""How the text of an option becomes a value, with the option's name for the message where it does not."""

import math
import os
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from iclglass.numerics.errors import ParameterError

__all__ = ["DIR", "FILE", "GRID", "INTEGER", "INTEGERS", "NUMBER", "TEXT", "Kind"]

MOST_POINTS = 100_000_000


def text(name: str, value: str) -> str:
    """Return the text itself, refused where no name of a file could hold it.

    >>> text("--out", "a.nc")
    'a.nc'
    """
    try:
        impossible = b"\0" in os.fsencode(value)
    except UnicodeEncodeError:
        impossible = True
    if impossible:
        raise ParameterError(f"{name} {value!r} holds a character that no file name can have")
    return value


def number(name: str, value: str) -> float:
    """Return a real number.

    >>> number("--tau", "0.5")
    0.5
    """
    try:
        return float(value)
    except ValueError:
        raise ParameterError(f"{name} {value!r} is not a number: write it as 0.1 or 1e-3") from None


def integer(name: str, value: str) -> int:
    """Return a whole number.

    >>> integer("--samples", "32")
    32
    """
    try:
        return int(value)
    except ValueError:
        raise ParameterError(f"{name} {value!r} is not a whole number") from None


def integers(name: str, value: str) -> tuple[int, ...]:
    """Return whole numbers that stand with commas between them.

    >>> integers("--dimension", "16,24")
    (16, 24)
    """
    return tuple(integer(name, part.strip()) for part in value.split(","))


def grid(name: str, value: str) -> object:
    """Return a number, or START:STOP:COUNT[:log] as an array of COUNT values, both ends included.

    >>> grid("--tau", "1:2:3").tolist(), grid("--tau", "1:100:3:log").tolist(), grid("--tau", "2")
    ([1.0, 1.5, 2.0], [1.0, 10.0, 100.0], 2.0)
    """
    parts = value.split(":")
    if len(parts) == 1:
        return number(name, value)
    form = f"{name} {value!r} must be a number or START:STOP:COUNT[:log]"
    if len(parts) not in (3, 4) or (len(parts) == 4 and parts[3] != "log"):
        raise ParameterError(form)
    import numpy as np

    start, stop, count = number(name, parts[0]), number(name, parts[1]), integer(name, parts[2])
    if count < 1:
        raise ParameterError(f"{form}: COUNT = {count} must be at least 1")
    if count == 1 and start != stop:
        raise ParameterError(f"{form}: COUNT = 1 has no place for two ends; write {parts[0]}, or a larger COUNT")
    if count > MOST_POINTS:
        raise ParameterError(f"{form}: COUNT = {count} must be at most {MOST_POINTS}")
    if not math.isfinite(stop - start):
        raise ParameterError(f"{form}: both ends must be finite, and so must be their difference")
    if len(parts) == 4:
        if start <= 0 or stop <= 0:
            raise ParameterError(f"{form}: both ends of a logarithmic grid must be > 0")
        return np.geomspace(start, stop, count)
    return np.linspace(start, stop, count)


class Kind(click.ParamType[Any]):
    """Values that a function makes of the option's name and its text; a shell completes names of files and folders."""

    def __init__(self, read: Callable[[str, str], object], name: str, complete: str | None = None) -> None:
        self.name, self.read, self.complete = name, read, complete

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text; a default that is none is a value already."""
        return self.read(param.opts[-1] if param else "", value) if isinstance(value, str) else value

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what the help calls a value."""
        return self.name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave names of files and folders to the shell."""
        return [CompletionItem(incomplete, type=self.complete)] if self.complete else []


TEXT = Kind(text, "TEXT")
NUMBER = Kind(number, "VALUE")
INTEGER = Kind(integer, "COUNT")
INTEGERS = Kind(integers, "COUNT,COUNT,..")
GRID = Kind(grid, "VALUE|START:STOP:COUNT[:log]")
FILE = Kind(text, "FILE", "file")
DIR = Kind(text, "DIR", "dir")
