"""Which of the program's modules a result follows from, and a digest of the code of each.

They are the module that computes it and everything of iclglass that this one imports, read from the syntax trees,
imports inside functions included. What only shows or keeps results is left out. The digest is of the code: comments,
documentation and layout do not change it, a number does.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["code_digests"]

_PACKAGE = "iclglass"
_LAYERS = ("replica", "numerics", "validation")
_PICTURES = ("axes", "data", "data_set", "dynamics", "extrapolations", "style", "sweeps")
_SHOWS_OR_KEEPS = frozenset(
    f"{_PACKAGE}.{name}"
    for name in (
        *("numerics.archive", "numerics.errors", "numerics.memory", "numerics.storage", "numerics.instance.storage"),
        *(f"numerics.running.{name}" for name in ("engines", "executor", "resuming", "run", "scheduler", "source")),
        *("numerics.running.state", "numerics.running.store"),
        *("numerics.plotting", *(f"numerics.plotting.{name}" for name in _PICTURES)),
        *("validation.report", "validation.paper.drawing", "validation.paper.notes"),
        *("validation.suite.page", "validation.training.storage"),
    )
)
"""No number follows from these: files, their errors, where work runs, pictures, pages."""


def code_digests(*roots: str) -> dict[str, str]:
    """Module -> digest of its code, for the modules named and all of iclglass that they import; without names for all.

    Names are those of Python, so that a checkout, a tree of links to it and an installed copy of it have the same.
    Roots that are not of iclglass have no place here.

    >>> found = code_digests("iclglass.numerics.spectrum")
    >>> "iclglass.numerics.spectrum" in found, "iclglass.numerics.plotting" in found
    (True, False)
    """
    return dict(_digests(roots))


@cache
def _digests(roots: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    waiting = list(roots or _all_modules())
    while waiting:
        name = waiting.pop()
        if name in found or name in _SHOWS_OR_KEEPS or not _is_ours(name):
            continue
        if (file := _file(name)) is None:  # the name of a thing in a module, not of a module
            continue
        found[name], imported = _read(file)
        parts = name.split(".")
        waiting += [*imported, *(".".join(parts[:count]) for count in range(3, len(parts)))]
    return tuple(sorted(found.items()))


def _is_ours(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == _PACKAGE and parts[1:2] != [] and parts[1] in _LAYERS


def _home() -> Path:
    """The folder in which the layers lie side by side, in a checkout and installed."""
    return Path(__file__).parent.parent.parent


def _file(name: str) -> Path | None:
    path = _home().joinpath(*name.split(".")[1:])
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _all_modules() -> Iterator[str]:
    for layer in _LAYERS:
        for file in (_home() / layer).rglob("*.py"):
            parts = file.relative_to(_home()).with_suffix("").parts
            yield ".".join((_PACKAGE, *(part for part in parts if part != "__init__")))


def _read(file: Path) -> tuple[str, frozenset[str]]:
    """The digest of a file's code, and all that it imports from."""
    tree = ast.parse(file.read_bytes(), filename=str(file))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:16], frozenset(imported)


def _plain(node: object) -> object:
    """The code as nested tuples, without places in the file and without strings that nothing uses."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_documentation(item)]
    if not isinstance(node, ast.AST):
        return node
    # Empty fields are left out: Python adds some from one version to the next.
    fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
    return type(node).__name__, [(name, _plain(value)) for name, value in fields]


def _is_documentation(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
