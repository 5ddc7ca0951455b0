"""solve_digits(...): one point of the closed form at any number of digits, through mpmath."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Rational
from typing import Any

import mpmath
import numpy as np

from iclglass.numerics import generated_mpmath
from iclglass.numerics.arguments import as_number, check_count
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, Parameters
from iclglass.numerics.status import Status

__all__ = ["PreciseSolution", "solve_digits"]

_GUARD = 15
_MOST_GUARD = 1000
# Beyond this exponent a decimal would become an integer of absurd length.
_MOST_EXPONENT = 10_000
_MOST_DIGITS = 100_000

_RIDGE = Fraction(1, 10)

Exact = Any
"""A number of any type that is real, or its text."""


@dataclass(frozen=True)
class PreciseSolution:
    """Values as decimal strings with the digits asked for; None where a quantity does not exist or is infinite."""

    digits: int
    values: Mapping[str, str | None]
    status: Status
    ridge: str = "0.1"
    """The ridge that was used, where none was given."""


def solve_digits(
    *,
    digits: int,
    task_diversity: Exact,
    context_length: Exact,
    label_noise: Exact = 0,
    ridge: Exact = _RIDGE,
    temperature: Exact = 0,
    test_context_length: Exact = None,
    loss: str = "squared_error",
    labels: str = "linear",
    spins: str = "real",
    ansatz: str = "rs",
    l1: Exact = 0,
    nuclear: Exact = 0,
    spacing: Exact = 1,
    huber_threshold: Exact = "1.35",
    model: Any = None,
) -> PreciseSolution:
    """Solve one point to a number of digits; the quantities are those of `numerics.saddle_point.solve`.

    Strings, integers, Fraction, Decimal and SymPy's numbers are taken exactly ("0.1" is one tenth); a float, NumPy's,
    mpmath's or SymPy's, is the binary number it is.

    Parameters
    ----------
    digits
        Significant decimal digits of the answer, 1 to 100000.
    task_diversity, context_length, label_noise, ridge, temperature, test_context_length
        As in `solve`.
    loss, labels, spins, ansatz, l1, nuclear, spacing, huber_threshold, model
        As in `solve`: convex models at T = 0. ``ridge`` then has the default of that model.

    Returns
    -------
    PreciseSolution
        `PreciseSolution`, values as decimal strings.

    Raises
    ------
    ParameterError, ParameterTypeError
        As `solve`; a string that is not a decimal number or a fraction.

    Examples
    --------
    >>> solve_digits(digits=20, task_diversity=3, context_length=5, ridge=1).values["e_icl"]
    '0.40909090909090909091'
    """
    digits = check_count("digits", digits, minimum=1)
    if digits > _MOST_DIGITS:
        raise ParameterError(f"digits = {digits} must be at most {_MOST_DIGITS}")
    given: dict[str, Exact] = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
        "test_context_length": context_length if test_context_length is None else test_context_length,
    }
    strengths = {"l1": l1, "nuclear": nuclear, "spacing": spacing, "huber_threshold": huber_threshold}
    exact = {name: _fraction(name, value, digits) for name, value in (given | strengths).items()}
    words = {"loss": loss, "labels": labels, "spins": spins, "ansatz": ansatz}
    # Only text is compared: an array against a word has no one answer; Parameters refuses it by name.
    usual = {name for name, word in words.items() if isinstance(word, str) and word == WORDS[name][0]}
    chosen: dict[str, Any] = {name: word for name, word in words.items() if name not in usual}
    chosen |= {name: exact[name] for name, known in STRENGTHS.items() if exact[name] != Fraction(str(known.default))}
    if chosen or model is not None:
        return _of_model({"model": model, **chosen}, exact, digits, default_ridge=ridge is _RIDGE)
    if exact["task_diversity"] == 1 and exact["ridge"] == 0:
        names = (*generated_mpmath.OUTPUTS["closed_form"], *generated_mpmath.OUTPUTS["thermal"])
        return PreciseSolution(digits, dict.fromkeys(_public(names)), Status.DIVERGES)
    guard = _GUARD
    texts = _texts(exact, digits, guard)
    # A sum of logarithms can nearly vanish: guard digits grow until two precisions agree.
    while guard < _MOST_GUARD and texts != (finer := _texts(exact, digits, 2 * guard)):
        guard, texts = 2 * guard, finer
    return PreciseSolution(digits, {name: texts[name] for name in _public(texts)}, Status.CONVERGED)


def _of_model(
    chosen: Mapping[str, Any], exact: dict[str, Fraction], digits: int, *, default_ridge: bool
) -> PreciseSolution:
    # Imported here: deriving a model takes SymPy and time, which ridge regression does not need.
    from iclglass.numerics.model_precision import solve_model_digits

    law: dict[str, Any] = {name: value for name, value in exact.items() if name not in STRENGTHS}
    if default_ridge:
        del law["ridge"]
    parameters = Parameters.of({name: _as_float(name, value) for name, value in {**law, **chosen}.items()})
    ridge = f"{float(parameters.ridge):g}"
    if default_ridge:
        exact = exact | {"ridge": Fraction(ridge)}
    texts, status = solve_model_digits(parameters, exact, digits)
    return PreciseSolution(digits, texts, status, ridge)


def _as_float(name: str, value: object) -> object:
    if not isinstance(value, Fraction):
        return value
    try:
        return float(value)
    except OverflowError as error:
        size = mpmath.nstr(mpmath.mpf(value.numerator) / value.denominator, 6)
        raise ParameterError(f"{name} = {size} must be below 1.8e308 in models other than ridge regression") from error


def _texts(exact: Mapping[str, Fraction], digits: int, guard: int) -> dict[str, str | None]:
    order = ("task_diversity", "context_length", "test_context_length", "label_noise", "ridge", "temperature")
    outputs = generated_mpmath.OUTPUTS
    with mpmath.workdps(digits + guard):
        arguments = [mpmath.mpf(exact[name].numerator) / exact[name].denominator for name in order]
        values = dict(zip(outputs["closed_form"], generated_mpmath.closed_form(*arguments), strict=True))
        state = (values[name] for name in ("inverse_chi", "z", "q", "e_icl", "e_train"))
        values |= zip(outputs["thermal"], generated_mpmath.thermal(*state, *arguments), strict=True)
        return {name: mpmath.nstr(v, digits) if mpmath.isfinite(v) else None for name, v in values.items()}


def _public(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in ("z", "inverse_chi", "lam_chi"))


def _fraction(name: str, value: Exact, digits: int) -> Fraction:
    number = value if isinstance(value, str) else as_number(value)
    if number is None:
        raise ParameterTypeError(f"{name} = {value!r} must be a number or its decimal string")
    parameter = (PARAMETERS | STRENGTHS)[name]
    try:
        exact = _exactly(number, digits)
        if isinstance(exact, Decimal) and exact.is_finite() and abs(exact.adjusted()) > _MOST_EXPONENT:
            raise ParameterError(f"{name} = {value!r} must be 0 or within 1e-{_MOST_EXPONENT} .. 1e{_MOST_EXPONENT}")
        fraction = Fraction(exact)
    except ParameterError:
        raise
    except (InvalidOperation, ValueError, OverflowError, ZeroDivisionError) as error:
        raise ParameterError(f"{name} = {value!r} must be {parameter.range}: {parameter.remedy}") from error
    if fraction < 0 or (fraction == 0 and not parameter.zero_allowed):
        raise ParameterError(f"{name} = {value} must be {parameter.range}: {parameter.remedy}")
    return fraction


def _exactly(number: Any, digits: int) -> Decimal | Fraction:
    """A number or its text exactly; SymPy's and mpmath's irrational ones to all digits that can count."""
    if isinstance(number, str):
        # Decimal reads the usual notations, Fraction 'p/q' as well.
        return Fraction(number) if "/" in number else Decimal(number)
    if isinstance(number, Decimal):
        return number
    if isinstance(number, Rational):
        return Fraction(int(number.numerator), int(number.denominator))
    if isinstance(number, (float, np.floating)):
        numerator, denominator = number.as_integer_ratio()
        return Fraction(int(numerator), int(denominator))
    if getattr(number, "is_infinite", False):  # SymPy's, which mpmath does not read
        raise ValueError(f"{number} is not finite")
    with mpmath.workdps(digits + _MOST_GUARD):
        binary = mpmath.mpmathify(number.evalf(digits + _MOST_GUARD) if hasattr(number, "evalf") else number)
        if not mpmath.isfinite(binary):
            raise ValueError(f"{number} is not finite")
        size = mpmath.mag(binary) * math.log10(2) if binary else 0
        if abs(size) > _MOST_EXPONENT:
            return Decimal(f"1e{round(size)}")  # which is refused
        mantissa, exponent = binary.man_exp  # of mpmath's pi in the precision at work; without the sign
    fraction = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -fraction if binary < 0 else fraction
