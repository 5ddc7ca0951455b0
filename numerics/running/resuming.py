"""What unfinished work on disk must share with the run that goes on with it: its parameters, and the program.

The program is told by the code of the modules that the results follow from (`numerics.running.source`), not by its
commit: an edit that is not committed counts; a commit of a note, and a comment mended anywhere, do not.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running.source import code_digests

__all__ = [
    "ANEW",
    "Program",
    "check_header",
    "described",
    "differences",
    "digest",
    "generator_digest",
    "header",
    "program",
    "versions",
]

Program = Mapping[str, Any]
"""Modules with the digests of their code, and versions."""

SCHEMA_VERSION = 5
"""Of every file of unfinished work."""

ANEW = "--force (in Python force=True or fresh=True)"
"""What begins anew."""


def header(work: str, parameters: Mapping[str, object], here: Program) -> dict[str, Any]:
    """What a file says of the work in it; `check_header` holds it against that of a run.

    Parameters
    ----------
    work : str
        What it is, as "sweep".
    parameters : mapping
        All that its results follow from, as JSON can hold it.
    here : Program
        The program at work.
    """
    return {
        "format": f"iclglass {work}",
        "schema_version": SCHEMA_VERSION,
        "programs": [here],
        "parameters": json.loads(json.dumps(dict(parameters), allow_nan=False)),
    }


def check_header(
    file: str, found: Mapping[str, Any], mine: Mapping[str, Any], *, anyway: bool, look: bool = False
) -> list[Program]:
    """The programs that have worked on a file, this one included, if it may go on with it.

    Parameters
    ----------
    file, found : str, mapping
        The file and its header, which anybody may have written.
    mine : mapping
        The header of this run.
    anyway : bool
        Go on whatever version of the program has worked on it.
    look : bool
        Only look at it: parameters and programs may be any.

    Raises
    ------
    OutputError
        It is of another format, schema version, or version of the program.
    ParameterError
        It is of other parameters; they are named.

    Examples
    --------
    >>> mine = header("sweep", {"ridge": 0.1}, {"numpy": "2.0"})
    >>> check_header("a.nc", header("training run", {}, {}), mine, anyway=False)
    Traceback (most recent call last):
    iclglass.numerics.errors.OutputError: a.nc holds a training run, not a sweep: choose another output
    """
    work, other = mine["format"].removeprefix("iclglass "), str(found.get("format"))
    if other != mine["format"]:
        what = f"holds a {other[9:]}, not a" if other.startswith("iclglass ") else "is not an unfinished"
        raise OutputError(f"{file} {what} {work}: choose another output")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise OutputError(
            f"{file} is of schema version {found.get('schema_version')}, this program writes {SCHEMA_VERSION}: finish "
            f"it with the program that began it, or {ANEW} to begin anew"
        )
    if look:
        return []
    if others := differences(found["parameters"], mine["parameters"]):
        raise ParameterError(
            f"{file} holds a {work} of other parameters: {others}; choose another output, or {ANEW} to begin anew"
        )
    programs, (here,) = found["programs"], mine["programs"]
    if not (isinstance(programs, list) and programs and all(isinstance(each, Mapping) for each in programs)):
        raise ValueError("it does not say which program began it")
    if not (others := differences(programs[-1], here)):
        return programs
    if not anyway:
        raise OutputError(
            f"{file} was begun by another version of this program: {others}; results of both must not be mixed unsaid: "
            "finish it with that one, or --resume-anyway (resume_anyway=True), which the result will say, or "
            f"{ANEW} to begin anew"
        )
    return [*programs, here]


def program(*modules: str) -> Program:
    """What results of the modules named follow from beside their parameters: the code of these, and versions.

    >>> list(program("iclglass.numerics.spectrum"))
    ['modules', 'iclglass', 'numpy', 'scipy']
    """
    return {"modules": code_digests(*modules), **versions("iclglass", "numpy", "scipy")}


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed, and of this one, installed or not.

    >>> list(versions("iclglass", "no such package"))
    ['iclglass']
    """
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            # An uninstalled checkout has no metadata; Python has run its front door before this module.
            found[package] = sys.modules["iclglass"].__version__ if package == "iclglass" else version(package)
    return found


def described(program: Program) -> dict[str, str]:
    """A program in few words: one digest for all its modules, and versions.

    >>> list(described(program("iclglass.numerics.spectrum")))
    ['source', 'iclglass', 'numpy', 'scipy']
    """
    if "modules" not in program:  # in few words already, as a file has it
        return dict(program)
    code = json.dumps(program["modules"], sort_keys=True).encode()
    return {"source": hashlib.sha256(code).hexdigest()[:16], **{k: v for k, v in program.items() if k != "modules"}}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In words, what two records differ in; empty where they are equal. Of modules only the names are said.

    >>> differences({"ridge": 0.1, "seed": 0}, {"ridge": 0.2, "seed": 0})
    'ridge is 0.1 there and 0.2 here'
    """
    return "; ".join(
        _modules(there.get(name), here.get(name))
        if name == "modules"
        else f"{name} is {reprlib.repr(there.get(name))} there and {reprlib.repr(here.get(name))} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    )


def _modules(there: object, here: object) -> str:
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return "the code of its modules is not recorded"
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    return f"the code of {', '.join(names)} differs"


def digest(*arrays: NDArray[Any]) -> str:
    """What names arrays among parameters: a hash of their bytes.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.zeros(3))
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def generator_digest(rng: np.random.Generator | None) -> str | None:
    """What names the random numbers that a generator will give: a hash of its state.

    >>> generator_digest(np.random.default_rng(1)) == generator_digest(np.random.default_rng(2))
    False
    """
    if rng is None:
        return None
    state = json.dumps(rng.bit_generator.state, default=lambda array: array.tolist(), sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()[:16]
