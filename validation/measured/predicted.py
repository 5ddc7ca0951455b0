"""The theory of every row of a table of measurements, at its parameters and its size."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iclglass.numerics.arguments import check_choice
from iclglass.numerics.drawn_pools import POOL_LAWS
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_size import solve_finite_points
from iclglass.numerics.model_choice import refuse_unless_builtin
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.solution import SENTENCES, Solution
from iclglass.numerics.status import Status
from iclglass.validation.measured.measurement import Measurement, parts
from iclglass.validation.measured.names import TOKENS

__all__ = ["Prediction", "predict_rows"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prediction:
    """What the theory says of one row.

    value : NaN where it says nothing, and then ``reason`` why.    error : standard error of averages over pools; of a
    difference the sum of those of its parts, which is never too small.
    """

    value: float
    error: float
    reason: str = ""


def predict_rows(rows: Sequence[Measurement], *, progress: Progress | None = None) -> list[Prediction]:
    """The theory of every row; points that agree in their words are solved together, equal points once.

    Raises
    ------
    ParameterError
        There is a theory of no row: why there is none of the first.
    """
    points: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        points.setdefault(_key(row.law), dict(row.law))
    groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key, law in points.items():
        groups.setdefault(tuple((name, _word(name, value)) for name, value in sorted(law.items())), []).append(key)
    solved: dict[tuple[Any, ...], dict[str, tuple[float, float]] | str] = {}
    done = 0
    for members in groups.values():
        solved |= _solved_together(members, [points[key] for key in members], _part(progress, done, len(points)))
        done += len(members)
    found = [_prediction(row, solved[_key(row.law)]) for row in rows]
    refused = [each.reason for each in found if each.reason.startswith(_REFUSED)]
    if len(refused) == len(found):
        raise ParameterError(refused[0].removeprefix(_REFUSED))
    return found


_REFUSED = "no theory: "


def _part(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of the points that are solved after so many others."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _key(law: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((name, value if _hashable(value) else id(value)) for name, value in law.items()))


def _hashable(value: object) -> bool:
    return isinstance(value, str | bool | int | float)


def _word(name: str, value: object) -> object:
    """What must be alike in points that are solved together: everything but numbers, and the tokens' correlation."""
    if isinstance(value, float) and name != "token_correlation":
        return "number"
    return value if _hashable(value) else id(value)


def _solved_together(
    keys: Sequence[tuple[Any, ...]], laws: Sequence[Mapping[str, Any]], progress: Progress | None = None
) -> dict[tuple[Any, ...], dict[str, tuple[float, float]] | str]:
    """Point -> its quantities with standard errors, or why it has none."""
    law: dict[str, Any] = {
        name: [each[name] for each in laws] if _word(name, value) == "number" else value
        for name, value in laws[0].items()
    }
    try:
        solution = _solve(law, progress)
    except ParameterError as error:
        if len(keys) == 1:
            return {keys[0]: f"{_REFUSED}{error}"}
        # One of them is refused; which, is seen one by one.
        found: dict[tuple[Any, ...], dict[str, tuple[float, float]] | str] = {}
        for key, each in zip(keys, laws, strict=True):
            found |= _solved_together([key], [each])
        return found
    return {key: _quantities(solution, index) for index, key in enumerate(keys)}


def _solve(law: Mapping[str, Any], progress: Progress | None) -> Solution:
    pool = check_choice("pool", law.get("pool", POOL_LAWS[0]), POOL_LAWS)
    length = law["token_correlation"]
    if law["correlated_query"]:
        raise ParameterError(
            "correlated tokens with a query that continues the sequence have no theory yet: only those with an "
            "independent query have one"
        )
    parameters = Parameters.of({name: law[name] for name in law if name not in ("pool", *TOKENS)})
    if parameters.dimension is None:
        return solve_points(_effective(parameters, length), progress=progress)
    if pool == POOL_LAWS[0] and length == 0:
        return solve_points(parameters, progress=progress)
    refuse_unless_builtin(parameters, "the theory of pools on the sphere and of correlated tokens")
    if pool != POOL_LAWS[0] and np.isinf(parameters.distinct_tasks).any():
        raise ParameterError(
            f"pool = {pool!r} with distinct_tasks = inf: the theory of prompts with their own tasks has Gaussian ones; "
            f"give distinct_tasks, or pool = {POOL_LAWS[0]!r}"
        )
    return solve_finite_points(parameters, pool_law=pool, token_correlation=length, progress=progress)


def _effective(parameters: Parameters, length: float) -> Parameters:
    """As D -> infinity correlated tokens are as good as independent ones of fewer: Tr C^2/N -> coth(1/length)."""
    if length == 0:
        return parameters
    share = (1 + parameters.label_noise) / (1 / math.tanh(1 / length) + parameters.label_noise)
    refuse_unless_builtin(parameters, "the theory of correlated tokens")
    tested = parameters.test_context_length
    return parameters.replaced(
        context_length=parameters.context_length * share,
        test_context_length=None if tested is None else tested * share,
    )


def _quantities(solution: Solution, index: int) -> dict[str, tuple[float, float]] | str:
    status = Status(int(np.reshape(solution.status, -1)[index]))
    if not np.reshape(solution.solved, -1)[index]:
        return SENTENCES[status]
    found = {}
    for name, array in solution.to_dict().items():
        error = solution.standard_errors.get(name)
        spread = math.nan if error is None else float(np.reshape(error, -1)[index])
        found[name] = float(np.reshape(array, -1)[index]), 0.0 if math.isnan(spread) else spread
    return found


def _prediction(row: Measurement, solved: Mapping[str, tuple[float, float]] | str) -> Prediction:
    if isinstance(solved, str):
        return Prediction(math.nan, math.nan, solved)
    names = parts(row.quantity)
    values = [solved.get(name, (math.nan, math.nan)) for name in names]
    if not all(math.isfinite(value) for value, _ in values):
        return Prediction(math.nan, math.nan, f"{row.quantity} does not exist, or is infinite, in this theory")
    value = values[0][0] - sum(value for value, _ in values[1:])
    return Prediction(value, sum(error for _, error in values))
