"""The parameters of the theory: names, symbols, ranges, defaults; validation in one place.

Source of the names: the project's interface, README.md. All are dimensionless scaled parameters of notes/notation.md.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.errors import ParameterError, ParameterTypeError

__all__ = ["PARAMETERS", "Parameter", "broadcast", "closest", "real"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of the theory.

    Attributes:
        name: Python keyword.
        letter: short name on the command line and of the symbol.
        meaning: one line for help texts and labels.
        symbol: Unicode symbol for axis labels.
        zero_allowed: whether 0 is in the range; no parameter is negative.
        infinite: whether infinity is in the range.
        default: value when not given; None means required (or another parameter's value, said in ``meaning``).
        remedy: what to do about a value out of range.
    """

    name: str
    letter: str
    meaning: str
    symbol: str
    zero_allowed: bool
    default: float | None
    remedy: str
    infinite: bool = False

    @property
    def range(self) -> str:
        """The range in words."""
        low = ">= 0" if self.zero_allowed else "> 0"
        return f"{low}, or infinite" if self.infinite else f"finite and {low}"


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "task_diversity",
            "tau",
            "task diversity P/D^2",
            "τ",
            False,
            None,
            "take P >= 1 prompts: tau = P/D^2 > 0",
        ),
        Parameter(
            "context_length",
            "alpha",
            "context length N/D",
            "α",
            False,
            None,
            "take N >= 1 tokens: alpha = N/D > 0",
        ),
        Parameter(
            "distinct_tasks",
            "kappa",
            "distinct tasks K/D; infinity: one task per prompt",
            "κ",
            False,
            math.inf,
            "take K >= 1 tasks, kappa = K/D > 0, or inf for one task per prompt",
            infinite=True,
        ),
        Parameter("label_noise", "rho", "variance of the label noise", "ρ", True, 0.0, "a variance is not negative"),
        Parameter(
            "ridge",
            "lam",
            "ridge D lambda0; 0 is the ridgeless limit",
            "λ",
            True,
            0.1,
            "0 is the ridgeless limit",
        ),
        Parameter(
            "temperature",
            "T",
            "temperature D^2/beta; 0 is the ground state",
            "T",
            True,
            0.0,
            "0 is the ground state",
        ),
        Parameter(
            "test_context_length",
            "test_context_length",
            "context length of test prompts; as in pretraining when not given",
            "α_test",
            False,
            None,
            "leave it out to test at the pretraining context length",
        ),
    )
}


def closest(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a name close to a known one, else the list of known names.

    Examples:
        >>> closest("e_ilc", ["e_icl", "chi"])
        "; did you mean 'e_icl'?"
        >>> closest("zzz", ["e_icl", "chi"])
        '; known: e_icl, chi'
    """
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(names)}"


def real(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """A real array of any shape, checked against the range of the parameter ``name``.

    Raises:
        ParameterTypeError: not a real number or an array of them (bool, str, complex, None).
        ParameterError: NaN, infinite, or out of range; the message names value, range and remedy.

    Examples:
        >>> real("ridge", [0, 1])
        array([0., 1.])
        >>> real("label_noise", -1)
        Traceback (most recent call last):
        iclglass.numerics.errors.ParameterError: label_noise = -1.0 must be finite and >= 0: a variance is not negative
    """
    parameter = PARAMETERS[name]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ParameterTypeError(f"{name} must be a number or a rectangular array of numbers: {error}") from error
    if array.dtype.kind not in "iuf":
        raise ParameterTypeError(
            f"{name} = {value!r} must be a real number or an array of real numbers, not {array.dtype}"
        )
    # A long double beyond the range becomes infinite and is refused below.
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    low_enough = array >= 0 if parameter.zero_allowed else array > 0
    bounded = ~np.isnan(array) if parameter.infinite else np.isfinite(array)
    bad = ~(bounded & low_enough)
    if bad.any():
        value = float(array[bad].flat[0])
        raise ParameterError(f"{name} = {value} must be {parameter.range}: {parameter.remedy}")
    return array


def broadcast(values: Mapping[str, ArrayLike | None]) -> dict[str, NDArray[np.float64]]:
    """Validate parameters by name and broadcast them to one shape, as read-only views.

    ``test_context_length`` None means the value of ``context_length``; any other None means the default.

    Raises:
        ParameterTypeError, ParameterError: as `real`; shapes that do not broadcast.
    """
    arrays = {}
    for name, parameter in PARAMETERS.items():
        value = values.get(name)
        if value is None:
            value = parameter.default
        if value is None and name == "test_context_length":
            value = values.get("context_length")
        if value is None:
            raise ParameterTypeError(f"{name} is required: {parameter.meaning}")
        arrays[name] = real(name, value)
    try:
        return dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items() if array.ndim)
        raise ParameterError(f"the parameters' shapes do not broadcast: {shapes}") from error
