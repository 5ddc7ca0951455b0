"""What commands print, return and write into: JSON with a schema version, exit codes, names of files, a folder."""

import json
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iclglass.numerics.errors import OutputError, ParameterError

SCHEMA_VERSION = 1
EXIT_DONE, EXIT_INTERNAL, EXIT_USAGE, EXIT_NOT_CONVERGED, EXIT_DISAGREE, EXIT_FILE, EXIT_INCONCLUSIVE = range(7)
EXIT_INTERRUPTED = 130


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object with its schema version."""
    print(to_json({"schema_version": SCHEMA_VERSION, **record}))


def judged(passed: bool | None) -> int:
    """Return the exit code of a verdict.

    >>> judged(True), judged(False), judged(None)
    (0, 4, 6)
    """
    return {True: EXIT_DONE, False: EXIT_DISAGREE, None: EXIT_INCONCLUSIVE}[passed]


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make the folder for a block of work; if that fails before anything is in it, remove it.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be used as a folder: {error.strerror or error}") from error
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def check_outputs(
    values: Mapping[str, Any], forms: Mapping[str, tuple[str, ...]], *, resumed: Collection[str] = ()
) -> None:
    """Refuse bad names and unwritable outputs before any work.

    Parameters
    ----------
    values
        Options of a command: plot, force, and those of `forms`.
    forms
        Option -> how the name of its file may end.
    resumed
        Options whose files may be there already, unfinished.
    """
    from iclglass.numerics.plotting import check_picture
    from iclglass.numerics.storage import check_writable

    paths = {name: values[name] for name in ("plot", *forms) if values[name] is not None}
    if "plot" in paths:
        check_picture(paths["plot"])
    owners: dict[str, str] = {}
    for name, path in paths.items():
        check_writable(path, force=values["force"] or name in resumed)
        other = owners.setdefault(os.path.realpath(path), name)  # a loop of links is refused where it is written
        if other != name:
            raise ParameterError(f"{_typed(other)} and {_typed(name)} both name {path}: choose two names")
    for name, ends in forms.items():
        if name in paths and Path(paths[name]).suffix not in ends:
            raise ParameterError(f"{_typed(name)} {paths[name]} must end in {' or '.join(ends)}, as what is written")


def refuse_existing(paths: Iterable[Path]) -> None:
    """Refuse to write into a folder where some of these files are."""
    if existing := [path for path in paths if path.exists()]:
        raise OutputError(f"{existing[0]} exists: choose another folder with --out, or --force to replace it")


def _typed(key: str) -> str:
    """The option as it is typed."""
    return f"--{key.replace('_', '-')}"


def print_parameters(parameters: Mapping[str, Any], width: int = 16) -> None:
    """Print one parameter a line."""
    for name, value in parameters.items():
        print(f"{name:{width}s} {value if isinstance(value, (str, bool)) else format(value, '.12g')}")


def say_written(*paths: object) -> None:
    """Say on stderr what was written; None was not."""
    written = [str(path) for path in paths if path is not None]
    if written:
        print(f"wrote {', '.join(written)}", file=sys.stderr)


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(f"iclglass: {sentence}", file=sys.stderr, flush=True)


def to_json(record: Mapping[str, Any]) -> str:
    """Return JSON text; NaN and infinities become null.

    >>> to_json({"a": float("nan")})
    '{\\n  "a": null\\n}'
    """
    return json.dumps(_plain(record), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """NaN and infinities as null: JSON has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
