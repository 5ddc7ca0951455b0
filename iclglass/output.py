"""What commands print, return and write into: JSON with a schema version, exit codes of finished work, a folder."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iclglass.numerics.errors import OutputError

__all__ = ["DONE", "NOT_CONVERGED", "SCHEMA_VERSION", "judged", "made", "print_json", "say", "to_json"]

SCHEMA_VERSION = 1
DONE = 0
NOT_CONVERGED = 3
DISAGREE = 4
INCONCLUSIVE = 6


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object with its schema version."""
    print(to_json({"schema_version": SCHEMA_VERSION, **record}))


def judged(passed: bool | None) -> int:
    """Exit code of a verdict.

    Examples:
        >>> judged(True), judged(False), judged(None)
        (0, 4, 6)
    """
    return {True: DONE, False: DISAGREE, None: INCONCLUSIVE}[passed]


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """The folder exists inside the block; if the block fails before anything is in it, it is removed again.

    Raises:
        OutputError: it cannot be made.
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


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(f"iclglass: {sentence}", file=sys.stderr)


def to_json(record: Mapping[str, Any]) -> str:
    """JSON text; NaN and infinities become null.

    Examples:
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
