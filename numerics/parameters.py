"""The parameters of the theory: names, symbols, ranges, defaults; checked in one place, where `Parameters` are made.

Source of the names: the project's interface, README.md. All are dimensionless scaled parameters of notes/notation.md.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import (
    check_beta,
    check_choice,
    check_count,
    check_real,
    doubles,
)
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.last_row import LAST_FEATURES, LastRow
from iclglass.numerics.sizes import NORMS, Sizes, sizes_at
from iclglass.numerics.sizes import from_unscaled as scaled_from
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum

__all__ = [
    "FLOW",
    "PARAMETERS",
    "Flow",
    "Given",
    "Parameter",
    "Parameters",
    "broadcast_arrays",
    "closest",
    "collected",
    "real",
    "refuse_unknown",
    "whole_dimensions",
]


@dataclass(frozen=True)
class Parameter:
    """One parameter of the theory.

    name : Python keyword.
    letter : short name on the command line and of the symbol.
    meaning : one line for help texts and labels.
    symbol : Unicode symbol for axis labels.
    zero_allowed : whether 0 is in the range; no parameter is negative.
    infinite : whether infinity is in the range.
    default : value when not given; None means required (or another parameter's value, said in ``meaning``).
    remedy : what to do about a value out of range.
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
            "task_diversity", "tau", "task diversity P/D^2", "τ", False, None, "take P >= 1 prompts: tau = P/D^2 > 0"
        ),
        Parameter(
            "context_length", "alpha", "context length N/D", "α", False, None, "take N >= 1 tokens: alpha = N/D > 0"
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
            "ridge", "lam", "ridge D lambda0; 0 is the ridgeless limit", "λ", True, 0.1, "0 is the ridgeless limit"
        ),
        Parameter(
            "temperature", "T", "temperature D^2/beta; 0 is the ground state", "T", True, 0.0, "0 is the ground state"
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
OF_PATHS = {
    parameter.name: parameter
    for parameter in (
        Parameter("time", "t", "time of gradient flow", "t", True, None, "the flow starts at time 0", infinite=True),
        Parameter("initial_overlap", "q0", "|W0|^2/D", "q_0", True, 0.0, "it is a sum of squares, |W0|^2/D"),
        Parameter("initial_chi", "chi0", "first variance", "χ_0", True, None, "it is a variance"),
    )
}
"""What gradient flow and message passing start from and go through, beside the theory's parameters."""


def closest(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a name close to a known one, else the list of known names.

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

    Raises ParameterTypeError: not a real number or an array of them (`numerics.arguments.real_array`). ParameterError:
    NaN, infinite, or out of range; the message names value, range and remedy.

    >>> real("ridge", [0, 1])
    array([0., 1.])
    >>> real("label_noise", -1)
    Traceback (most recent call last):
    iclglass.numerics.errors.ParameterError: label_noise = -1.0 must be finite and >= 0: a variance is not negative
    """
    parameter = (PARAMETERS | OF_PATHS)[name]
    array = doubles(name, value)
    low_enough = array >= 0 if parameter.zero_allowed else array > 0
    bounded = ~np.isnan(array) if parameter.infinite else np.isfinite(array)
    bad = ~(bounded & low_enough)
    if bad.any():
        value = float(array[bad].flat[0])
        raise ParameterError(f"{name} = {value} must be {parameter.range}: {parameter.remedy}")
    return array


def broadcast_arrays(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Checked arrays, by name, broadcast to one shape, as read-only views.

    Raises ParameterError: shapes that do not broadcast; it names them.

    >>> {name: array.shape for name, array in broadcast_arrays({"a": np.ones(2), "b": np.ones(())}).items()}
    {'a': (2,), 'b': (2,)}
    """
    try:
        return dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items() if array.ndim)
        raise ParameterError(f"the parameters' shapes do not broadcast: {shapes}") from error


def whole_dimensions(dimension: ArrayLike) -> NDArray[np.float64]:
    """Dimensions as whole numbers, in double precision.

    >>> whole_dimensions([8, 16])
    array([ 8., 16.])
    """
    array = doubles("dimension", dimension)
    broken = ~((array == np.rint(array)) & (array < 2**31))
    if broken.any():
        raise ParameterError(f"dimension = {array[broken].flat[0]:.15g} must be a whole number below 2^31")
    if (small := array < 1).any():
        raise ParameterError(f"dimension = {array[small].flat[0]:.15g} must be a whole number >= 1")
    return array


class Flow(TypedDict, total=False):
    """The fields of `Parameters` that gradient flow and message passing know, as keywords; arrays that broadcast."""

    task_diversity: ArrayLike
    context_length: ArrayLike
    label_noise: ArrayLike
    ridge: ArrayLike
    test_context_length: ArrayLike | None


class Given(Flow, total=False):
    """All fields of `Parameters` as keywords of the functions that take them."""

    distinct_tasks: ArrayLike
    temperature: ArrayLike
    tasks: TaskSpectrum
    dimension: ArrayLike | None
    norm: str
    last_feature: str
    last_row: bool


FLOW = tuple(Flow.__annotations__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Parameters:
    """The parameters of the theory at one point or at many, checked and broadcast to one shape.

    Functions of the theory take these fields as keywords; `solve`, `solve_finite` and `validate` also one object.

    Parameters
    ----------
    task_diversity : array_like
        tau = P/D^2 > 0.
    context_length : array_like
        alpha = N/D > 0.
    distinct_tasks : array_like
        kappa = K/D > 0, tasks in the pool that prompts draw from; inf: every prompt has its own.
    label_noise : array_like
        rho >= 0.
    ridge : array_like
        lam = D lambda0 >= 0; 0 is the ridgeless limit, exact on both sides of tau = 1.
    temperature : array_like
        T = D^2/beta >= 0; 0 is the ground state.
    test_context_length : array_like, optional
        N/D of the test prompts, for e_icl; None: as in pretraining.
    tasks : TaskSpectrum
        Covariance spectrum of the tasks, in pretraining and test; isotropic, variance 1.
    dimension : array_like, optional
        Token dimension D for the theory at finite D (`numerics.finite_size`); None: D -> infinity.
    norm : {"N", "N+1"}
        Divisor of the attention sum at finite D.
    last_feature : {"unit-tokens", "scaled-tokens"}
        Size of the mean squared label at finite D (SG; LU: 1/sqrt(D) smaller).
    last_row : bool
        False: no weights multiply the mean squared label, W is D x D. At finite D only.

    Raises
    ------
    ParameterError, ParameterTypeError
        A value that is none, or out of range; shapes that do not broadcast; masked arrays with masked entries, pandas
        objects. The message names value, range and remedy.

    Examples
    --------
    >>> point = Parameters(task_diversity=[1, 2], context_length=1.5)
    >>> point.shape, point.ridge
    ((2,), array([0.1, 0.1]))
    >>> Parameters(task_diversity=2, context_length=1).at(16).prompts
    512
    """

    task_diversity: NDArray[np.float64]
    context_length: NDArray[np.float64]
    distinct_tasks: NDArray[np.float64] = math.inf  # type: ignore[assignment]
    label_noise: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    ridge: NDArray[np.float64] = 0.1  # type: ignore[assignment]
    temperature: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    test_context_length: NDArray[np.float64] | None = None
    tasks: TaskSpectrum = ISOTROPIC
    dimension: NDArray[np.float64] | None = None
    norm: str = NORMS[0]
    last_feature: str = LAST_FEATURES[0]
    last_row: bool = True
    _given: dict[str, NDArray[np.float64]] = field(init=False, repr=False)
    """Arrays before they were broadcast."""

    if TYPE_CHECKING:  # numbers go in, arrays are inside

        def __init__(self, **given: Unpack[Given]) -> None: ...

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        if not isinstance(self.tasks, TaskSpectrum):
            raise ParameterTypeError(
                "tasks must be a TaskSpectrum, as TaskSpectrum.from_eigenvalues makes it, got "
                f"{type(self.tasks).__name__}"
            )
        object.__setattr__(self, "last_row", self.layer.last_row)
        given = {name: getattr(self, name) for name in PARAMETERS}
        if self.test_context_length is None:
            del given["test_context_length"]
        arrays = {name: real(name, value) for name, value in given.items()}
        if self.dimension is not None:
            arrays["dimension"] = whole_dimensions(self.dimension)
        object.__setattr__(self, "_given", arrays)
        for name, array in broadcast_arrays(arrays).items():
            array.flags.writeable = arrays[name].flags.writeable = False  # checked once
            object.__setattr__(self, name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters.of, (self.fields(),)

    def fields(self) -> dict[str, Any]:
        """What the constructor was given, by name."""
        return {name: self._given.get(name, getattr(self, name)) for name in Given.__annotations__}

    @property
    def layer(self) -> LastRow:
        """Which layer at finite D."""
        return LastRow(self.last_feature, self.last_row)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all arrays."""
        return self.task_diversity.shape

    @property
    def scaled(self) -> dict[str, NDArray[np.float64]]:
        """The parameters of `PARAMETERS` by name, in that order; a test context length not given as in pretraining."""
        arrays = {name: getattr(self, name) for name in PARAMETERS}
        if self.test_context_length is None:
            arrays["test_context_length"] = self.context_length
        return arrays

    def varying(self, name: str) -> NDArray[np.float64]:
        """The values of one parameter along the axes on which it was given, without those that it is broadcast to."""
        array: NDArray[np.float64] = getattr(self, name)
        own_shape = self._given[name].shape
        given = (0,) * (array.ndim - len(own_shape)) + own_shape
        return array[tuple(slice(None) if size == own else 0 for size, own in zip(array.shape, given, strict=True))]

    def at(self, dimension: int, norm: str | None = None) -> Sizes:
        """The integers P, N, K of a single point at one dimension; norm: of `Parameters` when not given."""
        if self.shape:
            raise ParameterError(f"the parameters are of {self.task_diversity.size} points: sizes are those of one")
        dimension = check_count("dimension", dimension, minimum=1)
        given = {name: getattr(self, name) for name in PARAMETERS}
        return sizes_at(dimension, given, self.norm if norm is None else check_choice("norm", norm, NORMS))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Parameters":
        """Those of a mapping from names of fields; ParameterTypeError: another name, or a required one is missing.

        >>> Parameters.of({"task_diversity": 2, "context_length": 1, "rigde": 1})
        Traceback (most recent call last):
        iclglass.numerics.errors.ParameterTypeError: got an unexpected keyword argument 'rigde'; did you mean 'ridge'?
        """
        refuse_unknown(given, Given.__annotations__)
        for name in ("task_diversity", "context_length"):
            if given.get(name) is None:
                raise ParameterTypeError(f"{name} is required: {PARAMETERS[name].meaning}")
        return cls(**given)

    def replaced(self, **given: Any) -> "Parameters":
        """With other values of some fields, which broadcast with the rest."""
        return self.of(self.fields() | given)

    @classmethod
    def from_unscaled(
        cls, dimension: int, *, prompts: int, context: int, ridge0: float, beta: float | None = None, **others: Any
    ) -> "Parameters":
        """Those of one data set in SG's unscaled parameters; beta None: temperature 0.

        >>> Parameters.from_unscaled(10, prompts=200, context=20, ridge0=0.01, beta=1000).temperature
        array(0.1)
        """
        dimension, prompts, context = (
            check_count(name, value, minimum=1)
            for name, value in {"dimension": dimension, "prompts": prompts, "context": context}.items()
        )
        ridge0, beta = check_real("ridge0", ridge0, minimum=0), None if beta is None else check_beta(beta)
        scaled = scaled_from(dimension, prompts=prompts, context=context, ridge0=ridge0, beta=beta)
        return cls.of({"dimension": dimension, **scaled, **others})

    def record(self) -> dict[str, Any]:
        """The parameters for a file, by name, as JSON holds them exactly; of an array its ends and its size."""
        found: dict[str, Any] = {}
        for name in (*PARAMETERS, "dimension"):
            if getattr(self, name) is not None:
                value = self.varying(name)
                found[name] = value if value.ndim == 0 else [value.flat[0], value.flat[-1], value.size]
        found["tasks"] = self.tasks.record()
        if self.dimension is not None:
            found |= {"norm": self.norm, **self.layer.to_dict()}
        return found


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """ParameterTypeError, with the nearest known name, for a keyword that a function does not have."""
    for name in given:
        if name not in known:
            raise ParameterTypeError(f"got an unexpected keyword argument {name!r}{closest(name, known)}")


def collected(parameters: Parameters | None, given: Given) -> Parameters:
    """The parameters that a function was given: an object, its fields as keywords, or an object with fields replaced.

    Raises
    ------
    ParameterTypeError
        No `Parameters`; a keyword of no field, or none for a field without default.

    Examples
    --------
    >>> collected(Parameters(task_diversity=2, context_length=1), {"ridge": 1.0}).ridge
    array(1.)
    """
    if parameters is None:
        return Parameters.of(given)
    if not isinstance(parameters, Parameters):
        raise ParameterTypeError(
            f"parameters must be an iclglass.Parameters, got {type(parameters).__name__}: give numbers by their names"
        )
    return parameters.replaced(**given) if given else parameters
