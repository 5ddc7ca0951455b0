"""The parameters of the theory, checked in one place, where `Parameters` are made.

Their names, ranges and defaults are in `numerics.parameter_table`.
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
    check_type,
    doubles,
)
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.last_row import LAST_FEATURES, LastRow
from iclglass.numerics.parameter_table import OF_PATHS, PARAMETERS, STRENGTHS, WORDS, Parameter
from iclglass.numerics.sizes import NORMS, Sizes, sizes_at
from iclglass.numerics.sizes import from_unscaled as scaled_from
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum

if TYPE_CHECKING:
    from iclglass.replica.model import Model

__all__ = [
    "FLOW",
    "OF_PATHS",
    "PARAMETERS",
    "STRENGTHS",
    "WORDS",
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


_ALL = PARAMETERS | STRENGTHS | OF_PATHS
_UNCHANGED = {name: np.array(parameter.default) for name, parameter in STRENGTHS.items()}


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
    parameter = _ALL[name]
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


class NotGiven(float):
    """The default of a parameter that has another one beside some values of others."""

    __slots__ = ()


_RIDGE = NotGiven(0.1)


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
    loss: str
    labels: str
    spins: str
    l1: ArrayLike
    nuclear: ArrayLike
    spacing: ArrayLike
    huber_threshold: ArrayLike
    ansatz: str
    model: "Model | None"


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
        lam = D lambda0 >= 0; 0 is the ridgeless limit, exact on both sides of tau = 1. It acts on every real spin, also
        on the diagonal beside discrete ones. Not given it is 0 where l1 or nuclear is above 0, or a model has none.
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
    loss : {"squared_error", "absolute_error", "huber", "log_loss", "hinge"}
        Of one prompt; squared_error is half of the square.
    labels : {"linear", "sign"}
        Of the context and of the query.
    spins : {"real", "nonnegative", "binary", "ternary", "integer"}
        Off the diagonal of W.
    l1, nuclear : array_like
        Strengths D^(3/2) l0 >= 0 of the lasso and D nu0 >= 0 of the nuclear norm.
    spacing : array_like
        c > 0 of discrete spins: W = c/sqrt(D) times an integer.
    huber_threshold : array_like
        Residual > 0 from which the Huber loss is linear.
    ansatz : {"rs", "1rsb"}
        Replica symmetry, or one step of breaking it where it is unstable: squared error, linear labels, D -> infinity.
    model : Model, optional
        An own one, in the place of loss, labels and spins.

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
    ridge: NDArray[np.float64] = _RIDGE  # type: ignore[assignment]
    temperature: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    test_context_length: NDArray[np.float64] | None = None
    tasks: TaskSpectrum = ISOTROPIC
    dimension: NDArray[np.float64] | None = None
    norm: str = NORMS[0]
    last_feature: str = LAST_FEATURES[0]
    last_row: bool = True
    loss: str = "squared_error"
    labels: str = "linear"
    spins: str = "real"
    l1: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    nuclear: NDArray[np.float64] = 0.0  # type: ignore[assignment]
    spacing: NDArray[np.float64] = 1.0  # type: ignore[assignment]
    huber_threshold: NDArray[np.float64] = 1.35  # type: ignore[assignment]
    ansatz: str = "rs"
    model: "Model | None" = None
    _given: dict[str, NDArray[np.float64]] = field(init=False, repr=False)
    """Arrays before they were broadcast."""
    _ridge_given: bool = field(init=False, repr=False, default=True)

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
        for name, choices in WORDS.items():
            check_choice(name, getattr(self, name), choices)
        if self.model is not None:
            _check_model(self.model)
        arrays = {name: _strength(name, getattr(self, name)) for name in STRENGTHS}
        given = {name: getattr(self, name) for name in PARAMETERS}
        ridge: object = self.ridge
        if isinstance(ridge, NotGiven):
            object.__setattr__(self, "_ridge_given", False)
            given["ridge"] = self._default_ridge(arrays)
        if self.test_context_length is None:
            del given["test_context_length"]
        arrays = {name: real(name, value) for name, value in given.items()} | arrays
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
        found = {name: self._given.get(name, getattr(self, name)) for name in Given.__annotations__}
        return found if self._ridge_given else found | {"ridge": _RIDGE}

    def _default_ridge(self, strengths: Mapping[str, NDArray[np.float64]]) -> float:
        has_none = self.model is not None and "lam" not in {symbol.name for symbol in self.model.strengths}
        others = has_none or strengths["l1"].any() or strengths["nuclear"].any()
        return 0.0 if others else float(_RIDGE)

    @property
    def chosen(self) -> dict[str, Any]:
        """Words and strengths of the model that differ from their defaults, or vary along an axis; an own model."""
        found: dict[str, Any] = {word: getattr(self, word) for word, known in WORDS.items()}
        found = {word: value for word, value in found.items() if value != WORDS[word][0]}
        for name, parameter in STRENGTHS.items():
            array = self._given[name]
            if array is not _UNCHANGED[name] and (array.ndim or array != parameter.default):
                found[name] = getattr(self, name)
        return found if self.model is None else found | {"model": self.model}

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
        chosen = self.chosen
        for name in (*PARAMETERS, *(name for name in STRENGTHS if name in chosen), "dimension"):
            if getattr(self, name) is not None:
                value = self.varying(name)
                found[name] = value if value.ndim == 0 else [value.flat[0], value.flat[-1], value.size]
        found["tasks"] = self.tasks.record()
        if self.dimension is not None:
            found |= {"norm": self.norm, **self.layer.to_dict()}
        found |= {word: chosen[word] for word in WORDS if word in chosen}
        if self.model is not None:
            texts = {"loss": self.model.loss, "penalty": self.model.prior}
            texts |= {"labels": self.model.labels, "spins": self.model.spins}
            found["model"] = {name: str(text) for name, text in texts.items()}
        return found


def _strength(name: str, value: Any) -> NDArray[np.float64]:
    """A strength as `real` checks it; that of a model that has none costs nothing."""
    return _UNCHANGED[name] if type(value) is float and value == STRENGTHS[name].default else real(name, value)


def _check_model(model: object) -> None:
    # Imported here: it brings SymPy, which an own model has brought already.
    from iclglass.replica.model import Model

    check_type("model", model, Model, "an iclglass.Model")


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
