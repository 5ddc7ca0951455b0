"""One point of a chosen model at any number of digits: the same System as in double precision, on mpmath numbers.

Newton's method starts from the solution in double precision, with its Jacobian and Broyden's updates. The answer is
taken where finer averages with more guard digits print the same. Source: this project, notes/models.md.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.model_choice import Choice, chosen
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.solution import OBSERVABLES, OF_MODELS
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    from iclglass.numerics.lowering.compiled import CompiledSystem
    from iclglass.numerics.lowering.precise import PreciseSystem

__all__ = ["solve_model_digits"]

_GUARD = 15
_MOST, _MOST_BENT = 1000, 200
"""Digits where averages are closed, and where they are sums over panels."""
_REFINED = 4
_STEPS = 60


def solve_model_digits(
    parameters: Parameters, exact: Mapping[str, Fraction], digits: int
) -> tuple[dict[str, str | None], Status]:
    """Values as decimal strings, by the names of `OBSERVABLES` and `OF_MODELS`, and the status.

    Parameters
    ----------
    parameters : Parameters
        One point; its words and own model choose.
    exact : mapping
        Every number of it exactly, by the names of parameters and strengths.
    digits : int
        Significant decimal digits.

    Raises
    ------
    ParameterError
        There are no more digits than those of double precision for this model; the sentence says why.
    ConvergenceError
        Averages did not settle.
    """
    # Imported here: it brings SymPy, which ridge regression does not need.
    from iclglass.numerics.lowering.compiled import compiled

    choice = chosen(parameters)
    refuse_without_digits(parameters, choice)
    system = compiled(choice.model, thermal=False)
    straight = system.few_nodes
    most = _MOST if straight else _MOST_BENT
    if digits > most:
        raise ParameterError(f"digits = {digits} must be at most {most} for this model: its averages are sums")
    _refuse_shapes(system)
    rough, inverse, status = _double(choice, parameters, system)
    if status not in (Status.CONVERGED, Status.RS_UNSTABLE):
        return dict.fromkeys((*OBSERVABLES, *OF_MODELS)), status
    if rough[-1] == 0:
        raise ConvergenceError("chi underflows in double precision, from which digits start: take a smaller l1")
    known: dict[str, str | None] = {}
    for refine in range(_REFINED):
        with mpmath.workdps(digits + _GUARD * (1 + refine)):
            precise = _precise(system, choice, exact, refine)
            rough, texts = _solved(precise, rough, inverse, digits)
        if texts == known:
            return texts, status
        known = texts
    raise ConvergenceError(f"averages of this model did not settle to {digits} digits: ask for fewer")


def refuse_without_digits(parameters: Parameters, choice: Choice) -> None:
    """Refuse --digits where the theory of a model is not a convex one at T = 0 of independent spins."""
    reason = None
    if np.any(parameters.temperature):
        reason = "at T > 0 averages are sums over nodes in double precision; set temperature to 0"
    elif choice.nuclear:
        reason = "the law of singular values is integrated in double precision; set nuclear to 0"
    elif choice.model.spin_energy.discrete:
        reason = f"spins = {choice.model.spins!r} at T = 0 are unstable; take continuous spins"
    if reason is not None:
        raise ParameterError(f"--digits goes without this model: {reason}, or leave digits out")


def _refuse_shapes(system: "CompiledSystem") -> None:
    bodies = (system.spin, system.diagonal, *system.losses.values())
    if system.shape == "general" or not all(body.convex for body in bodies):
        raise ParameterError(
            "--digits goes without this model: its loss and penalty must be convex, and the loss a function of y - f, "
            "or of y f at labels -1 and 1; leave digits out"
        )


def _double(
    choice: Choice, parameters: Parameters, system: "CompiledSystem"
) -> tuple[list[Any], mpmath.matrix, Status]:
    """m, q, chi in double precision, the inverse of 1 - J there, and the status."""
    from iclglass.numerics.handshake import ORDER, slopes, solve_model

    law: dict[str, Any] = {name: parameters.scaled[name].reshape(-1) for name in _LAW}
    strengths = {name: array.reshape(-1) for name, array in choice.strengths.items()}
    found = solve_model(choice.model, strengths, diagonal_dimension=None, **law)
    values = [mpmath.mpf(float(found[name][0])) for name in ORDER]
    status = Status(int(found["status"][0]))
    if status not in (Status.CONVERGED, Status.RS_UNSTABLE):
        return values, mpmath.eye(len(ORDER)), status
    numbers = {_SYMBOLS[name]: array for name, array in law.items()} | strengths
    matrix = np.eye(len(ORDER)) - slopes(system, np.array([found[name] for name in ORDER]), numbers)[0]
    return values, mpmath.matrix(np.linalg.inv(matrix).tolist()), status


def _precise(system: "CompiledSystem", choice: Choice, exact: Mapping[str, Fraction], refine: int) -> "PreciseSystem":
    from iclglass.numerics.lowering.precise import PreciseSystem
    from iclglass.numerics.model_choice import FIELDS

    names = {symbol: name for name, symbol in _SYMBOLS.items()}
    names |= {name: FIELDS[name] for name in choice.strengths}
    point = {symbol: mpmath.mpf(exact[name].numerator) / exact[name].denominator for symbol, name in names.items()}
    return PreciseSystem(system, point, refine)


def _solved(
    precise: "PreciseSystem", start: list[Any], inverse: mpmath.matrix, digits: int
) -> tuple[list[Any], dict[str, str | None]]:
    """Newton's method with Broyden's update of the inverse; the solution and its quantities as text."""
    x, inverse = mpmath.matrix(start), inverse.copy()
    goal = mpmath.mpf(10) ** (5 - mpmath.mp.dps)
    answer, point = precise.step(*x)
    gap = mpmath.matrix(answer) - x
    for _ in range(_STEPS):
        if all(abs(g) <= goal * abs(value) for g, value in zip(gap, x, strict=True)):
            break
        change = inverse * gap
        x = x + change
        answer, point = precise.step(*x)
        new = mpmath.matrix(answer) - x
        # The residual fell by gap - new along change.
        image = inverse * (gap - new)
        scale = (change.T * image)[0]
        if scale:
            inverse += (change - image) * (change.T * inverse) / scale
        gap = new
    else:
        raise ConvergenceError(f"the solution did not settle to {digits} digits: ask for fewer")
    found = precise.observables(point) | {"m": x[0], "q": x[1], "chi": x[2]}

    def text(value: Any) -> str:
        # A difference that vanishes leaves rounding, at every precision another.
        return mpmath.nstr(value if abs(value) > goal else mpmath.mpf(0), digits)

    return list(x), {name: text(found[name]) if name in found else None for name in (*OBSERVABLES, *OF_MODELS)}


_SYMBOLS = {
    "task_diversity": "tau",
    "context_length": "alpha",
    "test_context_length": "alpha_test",
    "label_noise": "rho",
    "temperature": "T",
}
_LAW = tuple(_SYMBOLS)
