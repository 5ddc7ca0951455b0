"""``--config FILE.toml``: a file that fills options before the command line is heard."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from iclglass.cli.kinds import FILE, INTEGERS
from iclglass.numerics.errors import OutputError, ParameterError

__all__ = ["CONFIG"]

_MOST_BYTES = 1_000_000


def _fill(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    """Make what is in the file the default of the options; their kinds convert it as if it were typed."""
    if path is None:
        return
    options = {
        name.lstrip("-").replace("-", "_"): option
        for option in ctx.command.params
        if isinstance(option, click.Option) and option is not CONFIG
        for name in option.opts
    }
    ctx.default_map = filled = {}
    for key, value in _read(path).items():
        name = key.replace("-", "_")
        if name not in options:
            match = difflib.get_close_matches(name, options, n=1)
            hint = f"did you mean {match[0]!r}?" if match else f"known: {', '.join(sorted(options))}"
            raise ParameterError(f"unknown key {key!r} in {path}; {hint}")
        option = options[name]
        if option.name in filled:
            raise ParameterError(f"{key!r} in {path} gives {option.opts[0].lstrip('-')} a second time")
        filled[option.name] = _value(key, value, option, path)


def _read(path: str) -> dict[str, Any]:
    file = Path(path)
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise OutputError(f"configuration file {path} is a device or pipe, which might never end: name a file")
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OutputError(f"configuration file {path} is larger than {_MOST_BYTES} bytes: it is no list of options")
        return tomllib.loads(content.decode("utf-8"))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"configuration file {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        # Of ValueError are what is not TOML, not UTF-8, and a number of more digits than Python reads.
        raise OutputError(f"configuration file {path} is not TOML: {error}") from error


def _value(key: str, value: object, option: click.Option, path: str) -> object:
    """The value as if it were typed."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ParameterError(f"{key!r} in {path} must be true or false")
        return value
    if isinstance(value, bool) and isinstance(option.flag_value, str):  # the value may be left out
        return option.flag_value if value else None
    if isinstance(value, list) and option.multiple:
        return [str(item) for item in value]
    if isinstance(value, list) and option.type is INTEGERS:
        return ",".join(str(item) for item in value)
    if isinstance(value, (bool, dict, list)):
        raise ParameterError(f"{key!r} = {value!r} in {path} must be a number or a string")
    return [str(value)] if option.multiple else str(value)


CONFIG = click.Option(
    ["--config"],
    type=FILE,
    metavar="FILE.toml",
    help="fill options from a TOML file; the command line wins",
    is_eager=True,
    expose_value=False,
    callback=_fill,
)
