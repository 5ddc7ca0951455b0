"""Command-line options: what there is, how its text becomes a value, how a TOML file fills it.

Options are data; argparse only splits the command line and prints the help. So the command line, the configuration
file and the help all speak of the same table.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.errors import OutputError, ParameterError

if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["Option", "add_options", "grid", "grid_parameters", "integer", "integers", "number", "resolve", "text"]

MOST_POINTS = 100_000_000
MOST_BYTES = 1_000_000
"""Of a configuration file."""


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        names: without dashes, the longest word first: ("task-diversity", "tau").
        convert: text -> value; raises ParameterError. Called with the option's name and the text.
        help: one line.
        metavar: what the value is called in the help.
        default: value when given nowhere.
        required: whether it must be given, on the command line or in the file.
        switch: takes no value; true when given.
        negatable: a switch that --no-NAME turns off.
        repeat: may be given several times; the value is a list.
        waived_by: key of another option that takes away the requirement when it is given.
        implied: text meant by the option given without a value; none: a value must follow.
    """

    names: tuple[str, ...]
    convert: Callable[[str, str], object]
    help: str
    metavar: str = "VALUE"
    default: object = None
    required: bool = False
    switch: bool = False
    negatable: bool = False
    repeat: bool = False
    waived_by: str = ""
    implied: str | None = None

    @property
    def key(self) -> str:
        """Name in the namespace and in messages."""
        return self.names[0].replace("-", "_")


def text(name: str, value: str) -> str:
    """The text itself, refused where no name of a file could hold it.

    Examples:
        >>> text("out", "a.nc")
        'a.nc'
    """
    try:
        impossible = b"\0" in os.fsencode(value)
    except UnicodeEncodeError:
        impossible = True
    if impossible:
        raise ParameterError(f"--{name} {value!r} holds a character that no file name can have")
    return value


def number(name: str, value: str) -> float:
    """A real number.

    Examples:
        >>> number("tau", "0.5")
        0.5
    """
    try:
        return float(value)
    except ValueError:
        raise ParameterError(f"--{name} {value!r} is not a number: write it as 0.1 or 1e-3") from None


def integer(name: str, value: str) -> int:
    """A whole number.

    Examples:
        >>> integer("samples", "32")
        32
    """
    try:
        return int(value)
    except ValueError:
        raise ParameterError(f"--{name} {value!r} is not a whole number") from None


def integers(name: str, value: str) -> tuple[int, ...]:
    """Whole numbers with commas.

    Examples:
        >>> integers("dimension", "16,24")
        (16, 24)
    """
    return tuple(integer(name, part.strip()) for part in value.split(","))


def grid(name: str, value: str) -> object:
    """A number, or START:STOP:COUNT[:log] as an array of COUNT values, both ends included.

    Examples:
        >>> grid("tau", "1:2:3").tolist(), grid("tau", "1:100:3:log").tolist(), grid("tau", "2")
        ([1.0, 1.5, 2.0], [1.0, 10.0, 100.0], 2.0)
    """
    parts = value.split(":")
    if len(parts) == 1:
        return number(name, value)
    form = f"--{name} {value!r} must be a number or START:STOP:COUNT[:log]"
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


def add_options(parser: "ArgumentParser", options: tuple[Option, ...]) -> None:
    """Declare the options to argparse, as text without defaults: `resolve` converts and fills in."""
    from argparse import BooleanOptionalAction

    for option in options:
        flags = [f"--{name}" for name in option.names]
        note = " (required)" if option.required else ""
        if option.default is not None and not option.switch:
            note = f" (default: {_shown(option.default)})"
        description = (option.help + note).replace("%", "%%")
        if option.switch:
            action: Any = BooleanOptionalAction if option.negatable else "store_true"
            parser.add_argument(*flags, dest=option.key, action=action, default=None, help=description)
        else:
            action = "append" if option.repeat else "store"
            parser.add_argument(
                *flags,
                dest=option.key,
                metavar=option.metavar,
                action=action,
                help=description,
                nargs=None if option.implied is None else "?",
                const=option.implied,
            )


def _shown(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def resolve(given: Mapping[str, object], options: tuple[Option, ...], config: str | None) -> dict[str, object]:
    """Command line over configuration file over defaults, converted.

    Raises:
        ParameterError: a value that cannot be read, a missing required option, an unknown key in the file.
        OutputError: the configuration file is missing or not TOML.
    """
    filed = _read_config(config, options) if config is not None else {}
    values: dict[str, object] = {}
    for option in options:
        raw = given.get(option.key)
        if raw is None:
            raw = filed.get(option.key)
        if raw is None:
            waived = given.get(option.waived_by) is not None or filed.get(option.waived_by) is not None
            if option.required and not waived:
                raise ParameterError(f"--{option.names[-1]} is required: {option.help}")
            values[option.key] = option.default
        elif option.switch:
            values[option.key] = bool(raw)
        elif option.repeat:
            texts = raw if isinstance(raw, list) else [raw]
            values[option.key] = [option.convert(option.names[-1], str(item)) for item in texts]
        else:
            values[option.key] = option.convert(option.names[-1], str(raw))
    return values


def grid_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are parameters of the theory, by the names of its Python functions."""
    from iclglass.numerics.parameters import PARAMETERS

    return {name: values[name] for name in (*PARAMETERS, "dimension", "norm", "last_feature", "last_row")}


def _read_config(path: str, options: tuple[Option, ...]) -> dict[str, object]:
    text("config", path)
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
            raise OutputError(f"configuration file {path} is a device or pipe, which might never end: name a file")
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise OutputError(f"configuration file {path} is larger than {MOST_BYTES} bytes: it is no list of options")
        table = tomllib.loads(content.decode("utf-8"))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"configuration file {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        # Of ValueError are what is not TOML, not UTF-8, and a number of more digits than Python reads.
        raise OutputError(f"configuration file {path} is not TOML: {error}") from error
    by_name = {name.replace("-", "_"): option for option in options for name in option.names}
    values: dict[str, object] = {}
    for key, value in table.items():
        option = by_name.get(key.replace("-", "_"))
        if option is None:
            match = difflib.get_close_matches(key.replace("-", "_"), by_name, n=1)
            hint = f"did you mean {match[0]!r}?" if match else f"known: {', '.join(sorted(by_name))}"
            raise ParameterError(f"unknown key {key!r} in {path}; {hint}")
        if option.key in values:
            raise ParameterError(f"{key!r} in {path} gives {option.names[0]} a second time")
        values[option.key] = _config_value(key, value, option, path)
    return values


def _config_value(key: str, value: object, option: Option, path: str) -> object:
    if option.switch:
        if not isinstance(value, bool):
            raise ParameterError(f"{key!r} in {path} must be true or false")
        return value
    if option.implied is not None and isinstance(value, bool):
        return option.implied if value else None
    if isinstance(value, list):
        if option.repeat:
            return [str(item) for item in value]
        if option.convert is not integers:
            raise ParameterError(f"{key!r} = {value!r} in {path} must be a number or a string")
        return ",".join(str(item) for item in value)
    if isinstance(value, (bool, dict)):
        raise ParameterError(f"{key!r} = {value!r} in {path} must be a number or a string")
    return str(value)
