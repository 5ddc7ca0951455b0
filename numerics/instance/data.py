"""One data set as arrays: contexts, queries, labels. Everything about its Boltzmann measure follows from these."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_choice, check_type, real_array
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.memory import chunks
from iclglass.numerics.running.resuming import digest
from iclglass.numerics.sizes import NORMS, divisor

__all__ = ["Instance", "check_instance"]

FloatArray = NDArray[np.float64]

_CHUNK_ELEMENTS = 1 << 20
"""Tokens' entries multiplied at once: bounds the temporaries whatever the number of prompts is."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One data set of P prompts in D dimensions, as linear attention sees it (SG section II).

    context : (P, D+1), U = C/norm; the last column is the sum of the squared labels over norm. Or (P, D), without that
        column: a layer without last row, whose W is D x D.
    query : (P, D), the query tokens X.
    label : (P,), the labels y_t of the queries.
    last_feature : how the last column was built, "unit-tokens" or "scaled-tokens" (`numerics.last_row`). It is the unit
        of the free energy, and changes nothing else.

    The arrays may be the user's own. They are kept as they are, without a copy, when they are contiguous and all
    float64 or all float32 (half the memory; products are then taken in single precision, sums over prompts and the
    right-hand side of the cavity equations in double). Integers and other floating-point types become float64.

    Raises ParameterError (a ValueError) for shapes that do not fit, P = 0, D = 0, NaN or infinity, with the array and
    the index; ParameterTypeError (a TypeError) for complex numbers and anything else that is not a real number.

    >>> data = Instance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0]]), np.array([2.0]))
    >>> data.prompts, data.dimension, data.spins
    (1, 2, 6)
    """

    context: FloatArray
    query: FloatArray
    label: FloatArray
    last_feature: str = field(default=UNIT_TOKENS.last_feature, kw_only=True)

    def __post_init__(self) -> None:
        arrays = {name: real_array(name, getattr(self, name)) for name in ("context", "query", "label")}
        _check_shapes(arrays)
        for name, array in _of_one_precision(arrays).items():
            object.__setattr__(self, name, array)
        LastRow(self.last_feature, self.last_row)  # refuses what there is not

    @staticmethod
    def from_tokens(
        tokens: ArrayLike,
        labels: ArrayLike,
        query: ArrayLike,
        label: ArrayLike,
        *,
        norm: str = "N",
        last_feature: str = "unit-tokens",
        last_row: bool = True,
    ) -> Instance:
        """The data set of prompts given token by token: U_m = sum_k y_k x_km/norm, U_{D+1} = s sum_k y_k^2/norm.

        tokens : (P, N, D).    labels : (P, N), y_k.    query : (P, D).    label : (P,), y_t.
        norm : "N" or "N+1", see SG section II and `numerics.sizes.NORMS`.
        last_feature : "unit-tokens" (s = 1, SG) or "scaled-tokens" (s = 1/sqrt(D)), see `numerics.last_row`. Tokens are
            of variance 1 for either: multiply tokens and query of variance 1/D by sqrt(D) first.
        last_row : False: no U_{D+1}, a layer without weights for it.

        Types and errors are those of `Instance`. Single-precision tokens are summed in double.

        >>> data = Instance.from_tokens([[[1, 0], [0, 2]]], [[3, 1]], [[1, 1]], [4])
        >>> data.context
        array([[1.5, 1. , 5. ]])
        """
        norm = check_choice("norm", norm, NORMS)
        layer = LastRow(last_feature, last_row)
        given = {"tokens": tokens, "labels": labels, "query": query, "label": label}
        arrays = {name: real_array(name, value) for name, value in given.items()}
        _check_shapes(arrays)
        arrays = _of_one_precision(arrays)
        points, values = arrays["tokens"], arrays["labels"]
        prompts, count, dimension = points.shape
        context = np.empty((prompts, layer.rows(dimension)), dtype=points.dtype)
        for part in chunks(prompts, _CHUNK_ELEMENTS // (count * dimension)):
            weight = values[part].astype(np.float64, copy=False)
            context[part, :dimension] = np.einsum("pk,pkd->pd", weight, points[part])
            if layer.last_row:
                context[part, dimension] = np.einsum("pk,pk->p", weight, weight)
        context /= divisor(count, norm)
        context[:, dimension:] *= layer.scale(dimension)
        return Instance(context, arrays["query"], arrays["label"], last_feature=layer.last_feature)

    @property
    def digest(self) -> str:
        """What names the data set among the parameters of a result: a hash of its arrays."""
        return digest(self.context, self.query, self.label)

    @property
    def dimension(self) -> int:
        """Token dimension D."""
        return int(self.query.shape[1])

    @property
    def prompts(self) -> int:
        """Number of prompts P."""
        return int(self.query.shape[0])

    @property
    def spins(self) -> int:
        """Number n of active spins, D(D+1), or D^2 without last row.

        The query's masked label switches the last column of W off.
        """
        return self.dimension * self.context.shape[1]

    @property
    def last_row(self) -> bool:
        """Whether contexts hold the mean squared label, so that W has a row for it."""
        return self.context.shape[1] > self.dimension

    @property
    def layer(self) -> LastRow:
        """The last feature, and whether there is one."""
        return LastRow(self.last_feature, self.last_row)

    @property
    def features(self) -> FeatureOperator:
        """The feature matrix S as an operator."""
        return FeatureOperator(self.context, self.query)

    @property
    def fields(self) -> FloatArray:
        """h = S^T y/P of every spin, (D+1, D), in double precision."""
        return self.features.in_double().adjoint(self.label) / self.prompts

    def as_float32(self) -> Instance:
        """The same data in single precision: half the memory, every number rounded to 6e-8 of itself.

        Raises ParameterError for a number beyond the range of single precision.

        >>> data = Instance(np.array([[1.0, 2.0]]), np.array([[1.0]]), np.array([0.1]))
        >>> data.as_float32().label
        array([0.1], dtype=float32)
        """
        with np.errstate(over="ignore"):  # what overflows is refused below, with its index
            single = [getattr(self, name).astype(np.float32) for name in ("context", "query", "label")]
        return Instance(*single, last_feature=self.last_feature)


def check_instance(value: object, *, remedy: str = "") -> None:
    """Refuse what is no data set.

    >>> check_instance(Instance([[1.0, 2.0]], [[1.0]], [2.0]))
    """
    check_type("instance", value, Instance, "an Instance", remedy=remedy)


_SHAPES = {
    "context": ("P", "D+1 or D"),
    "tokens": ("P", "N", "D"),
    "labels": ("P", "N"),
    "query": ("P", "D"),
    "label": ("P",),
}


def _check_shapes(arrays: dict[str, FloatArray]) -> None:
    """Every array against the letters of `_SHAPES`; P and D are those of the query, N that of the tokens."""
    found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    wanted = ", ".join(f"{name} ({', '.join(_SHAPES[name])}{',' * (len(_SHAPES[name]) == 1)})" for name in arrays)
    message = f"shapes of prompts do not fit: {found}; want {wanted}"
    if any(array.ndim != len(_SHAPES[name]) for name, array in arrays.items()):
        raise ParameterError(message)
    prompts, dimension = arrays["query"].shape
    rows = arrays["context"].shape[1] if "context" in arrays else dimension
    sizes = {"P": prompts, "D": dimension, "D+1 or D": dimension if rows == dimension else dimension + 1}
    if "tokens" in arrays:
        sizes["N"] = arrays["tokens"].shape[1]
    if any(array.shape != tuple(sizes[letter] for letter in _SHAPES[name]) for name, array in arrays.items()):
        raise ParameterError(message)
    empty = [letter for letter, size in sizes.items() if size == 0]
    if empty:
        raise ParameterError(f"{empty[0]} = 0: a data set needs at least one prompt, dimension and token; {found}")


def _of_one_precision(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Contiguous arrays, all float32 or all float64, with finite entries only."""
    single = all(array.dtype == np.float32 for array in arrays.values())
    result: dict[str, FloatArray] = {}
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # extended precision beyond float64 is refused below, as infinite
            result[name] = np.ascontiguousarray(array, dtype=np.float32 if single else np.float64)
        finite = np.isfinite(result[name])
        if not finite.all():
            index = tuple(int(i) for i in np.argwhere(~finite)[0])
            where = ", ".join(map(str, index))
            more = finite.size - int(finite.sum()) - 1
            others = f" ({more} more like it)" if more else ""
            raise ParameterError(
                f"{name}[{where}] is {array[index]}{others}: every entry must be finite; drop such prompts"
            )
    return result
