"""Theory against finite-size Monte Carlo: simulate, extrapolate in 1/D, compare, judge.

The asymptotic theory holds at D -> infinity; a simulation has D = 16..48, where 1/D corrections are many
error bars. So what is compared is the extrapolation. At dimension D the integers P, N and K are rounded, so
the simulation runs at (tau_D, alpha_D, kappa_D) = (P/D^2, N/D, K/D), not at (tau, alpha, kappa), and with D of the
eigenvalues of a structured task covariance: the gap

    g(D) = simulated mean at D - theory(tau_D, alpha_D, kappa_D)  =  g + a/D (+ b/D^2)

is extrapolated, which removes the rounding, and g is tested against 0 for every quantity. Of a chosen model the
finite-size theory says what the correction at D is; it is taken out first, and what is left begins with 1/D^2
(`validation.model_theory`). z = g/(its standard error); the threshold for |z| is a Student t quantile whose Bonferroni
correction makes the false-alarm rate of the whole family of quantities at most the stated one. A gap beyond it is
forgiven only up to the truncation of the polynomial (see `validation.extrapolation`), which is reported in every row. A
quantity that is finite on one side only, theory or simulation, disagrees. One that is not refused agrees only if a bias
of a stated share of its size, 25 % by default, would have been seen; otherwise the check is inconclusive for it
(`validation.verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_real
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.parameters import PARAMETERS, Parameters
from iclglass.numerics.running.resuming import described
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import from_unscaled
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum
from iclglass.validation.agreement import POWER, Agreement, QuantityAgreement, SizeComparison
from iclglass.validation.extrapolation import POWERS, extrapolate, fitted_powers
from iclglass.validation.model_theory import finite_size_corrections, model_theory
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.pools import at_dimension
from iclglass.validation.simulation import FiniteSizeSamples, Simulation, simulate_all
from iclglass.validation.statistics import (
    bonferroni_threshold,
    mean_and_error,
    smallest_detectable_bias,
    z_score,
)
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, check_largest_unseen_bias, judged

__all__ = ["DIMENSIONS", "Theory", "compare", "validate"]

FloatArray = NDArray[np.float64]

ROUND_OFF = 1e-10
"""A gap below this fraction of E y_t^2 is rounding: e_train is 0 for ridge = 0 and tau < 1."""

DIMENSIONS = (8, 12, 20, 32)
"""Extrapolated from by default: with 32 data sets each they see a bias of 20 % where 16, 24, 32 miss one of 50 %."""

SMALLEST = 4
"""Smallest dimension that is extrapolated from."""

_POWERS_LEFT = (2, 3, 4)
"""Powers of 1/D that the finite-size theory leaves."""

_LEAST_FALSE_ALARM = 1e-12
"""Below it thresholds are so far out that the power of a check cannot be computed."""

DUPLICATES_AT_ZERO_TEMPERATURE = ("q_self", "e_icl_gibbs", "free_energy", "entropy")
"""At T = 0 these are q, e_icl and energy once more, and entropy does not exist."""


class Theory(Protocol):
    """A theory: from parameters, which broadcast, to an object with one array attribute a quantity."""

    def __call__(
        self,
        *,
        task_diversity: ArrayLike,
        context_length: ArrayLike,
        distinct_tasks: ArrayLike,
        label_noise: ArrayLike,
        ridge: ArrayLike,
        temperature: ArrayLike,
        test_context_length: ArrayLike | None,
        tasks: TaskSpectrum,
    ) -> object: ...


@spelled_out
def validate(
    parameters: Parameters | None = None,
    /,
    *,
    dimension: Sequence[int] = DIMENSIONS,
    samples: int = 32,
    seed: int = 0,
    false_alarm: float = 0.01,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    theory: Theory = solve,
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
    **given: Any,
) -> Agreement:
    """Simulate, extrapolate and compare with the theory.

    Parameters
    ----------
    parameters : Parameters, optional
        Or its fields as keywords: task_diversity, context_length, distinct_tasks, label_noise, ridge, temperature,
        test_context_length, tasks, norm, last_feature, last_row; one point.
    dimension : sequence of int
        At least two distinct D >= 4 to extrapolate from; two cannot test the curvature in 1/D and make a weak check.
    samples, seed : int
        Data sets at each dimension, >= 2; of all random numbers, >= 0.
    false_alarm : float
        A correct theory fails with at most this probability, all quantities together.
    largest_unseen_bias : float
        A quantity agrees only if a bias of this share of it would have been seen with probability 0.9.
    theory : Theory
        What is held against the simulation; where it gives no number (NaN) it is refused or disagrees, and never
        agrees.
    executor, workers, progress, say, checkpoint, fresh, resume_anyway
        Where data sets are drawn and kept, as in `validation.simulation.simulate_all`; the result does not depend on
        it.

    Returns
    -------
    Agreement
        Disagreement (`passed` is False) and too little power (`passed` is None) are results, not errors.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError, WorkerError, KeyboardInterrupt
        As `validation.simulation.simulate_all` and `compare`.

    Examples
    --------
    >>> found = validate(task_diversity=2, context_length=1, dimension=(6, 8, 12), samples=16)
    >>> found.prompts, [row.quantity for row in found.rows]
    ((72, 128, 288), ['m', 'q', 'chi', 'e_icl', 'e_train', 'contrast', 'energy'])
    >>> found.passed, found.sentence.split()[0]
    (None, 'Inconclusive:')
    """
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    false_alarm = check_real("false_alarm", false_alarm, minimum=0.0, above=True, maximum=1.0)
    if false_alarm < _LEAST_FALSE_ALARM:
        raise ParameterError(
            f"false_alarm must be at least {_LEAST_FALSE_ALARM:g}, got {false_alarm:g}: with a smaller one nothing but "
            "an infinite deviation would fail"
        )
    if not callable(theory):
        raise ParameterTypeError(f"theory must be a function, as iclglass.solve, got {type(theory).__name__}")
    if getattr(parameters, "dimension", None) is not None:
        raise ParameterError(
            "the parameters have a dimension, and validate extrapolates from several: leave it out of them, and give "
            "dimension = (8, 12, 20, 32) or the like"
        )
    simulation = Simulation.of(parameters, given, dimensions=dimension, samples=samples, seed=seed)
    _refuse_dimensions(simulation)
    theory = _theory_of(simulation, theory)
    _refuse_undefined_theory(simulation, theory)
    _refuse_other_side(simulation)  # known from the integers alone: said before anything is simulated
    (found,) = simulate_all(
        {"": simulation},
        simulation.drawn_from(),
        executor=executor,
        workers=workers,
        progress=progress,
        say=say,
        checkpoint=checkpoint,
        fresh=fresh,
        resume_anyway=resume_anyway,
    )
    return compare(found, false_alarm=false_alarm, largest_unseen_bias=largest_unseen_bias, theory=theory)


def _refuse_dimensions(simulation: Simulation) -> None:
    sizes = list(simulation.dimensions)
    if len(sizes) < 2:
        raise ParameterError(f"dimension must hold at least 2 values to extrapolate in 1/D, got {sizes}")
    if sizes[0] < SMALLEST:
        raise ParameterError(
            f"dimension = {sizes} must be >= {SMALLEST}: below, terms beyond the polynomial in 1/D are not small and "
            "the stated false-alarm rate does not hold"
        )


def _refuse_undefined_theory(simulation: Simulation, theory: Theory) -> None:
    """ParameterError, before anything is simulated, where the theory has no number: ridge = 0 at tau = 1."""
    solution = theory(**_law(simulation))
    name = _headline(simulation)
    found = {name: _number(solution, name) for name in simulation.quantities}[name]
    if not math.isfinite(found):
        raise ParameterError(
            f"the theory has no finite {name} at task_diversity = {simulation.task_diversity:g} and ridge = "
            f"{simulation.ridge:g}, but {found} (without ridge it diverges at the interpolation threshold, "
            "task_diversity = 1); use ridge > 0 or another task_diversity, or mend the theory"
        )


def compare(
    samples: FiniteSizeSamples,
    *,
    false_alarm: float = 0.01,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    theory: Theory = solve,
) -> Agreement:
    """Compare finished samples with a theory; the second half of `validate`.

    Compared is every quantity, less `DUPLICATES_AT_ZERO_TEMPERATURE` at T = 0, less e_idg where it is e_icl (every
    prompt has a task of its own, of the law tested on), and less what is finite neither in the theory at any size nor
    in any sample: chi for ridge = 0 and task_diversity < 1. They are listed in `left_out`. Any other number that is not
    finite makes its quantity disagree. ParameterError if with ridge = 0 a dimension lies on the other side of the
    interpolation threshold P = n than the theory, or if the theory or a sample has no finite e_icl.
    """
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    theory = _theory_of(samples, theory)
    corrections = _corrections(samples)
    powers = POWERS if corrections is None else _POWERS_LEFT
    predictions = _predictions(samples, theory)
    for name, values in (corrections or {}).items():
        predictions[name] = predictions[name] + np.array([0.0, *values])
    _refuse_other_side(samples)
    left_out = tuple(name for name in samples.quantities if _is_left_out(name, samples, predictions[name]))
    compared = [name for name in samples.quantities if name not in left_out]
    headline = _headline(samples)
    if headline not in compared or not _is_finite(headline, samples, predictions[headline]):
        raise ParameterError(
            f"the theory or a sample has no finite {headline} at task_diversity = {samples.task_diversity:g}, "
            f"ridge = {samples.ridge:g}; use ridge > 0 or another task_diversity"
        )
    rows = tuple(
        _compare_quantity(
            name,
            samples,
            predictions[name],
            powers=powers,
            scale=_scale(name, abs(float(predictions[name][0])), samples),
            false_alarm=false_alarm,
            comparisons=len(compared),
            largest_unseen_bias=largest_unseen_bias,
        )
        for name in compared
    )
    return Agreement(
        parameters=samples.parameters,
        dimensions=samples.dimensions,
        samples=samples.samples,
        seed=samples.seed,
        powers=fitted_powers(len(samples.dimensions), powers),
        finite_size=corrections is not None,
        false_alarm=false_alarm,
        rows=rows,
        largest_unseen_bias=largest_unseen_bias,
        left_out=left_out,
        compared_with=_named(theory),
        programs=tuple(map(described, samples.programs)) if len(samples.programs) > 1 else (),
    )


def _named(theory: Theory) -> str:
    kind = theory if hasattr(theory, "__qualname__") else type(theory)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_finite(name: str, samples: FiniteSizeSamples, predictions: FloatArray) -> bool:
    return bool(np.all(np.isfinite(predictions)) and np.all(np.isfinite(samples.values[name])))


def _is_left_out(name: str, samples: FiniteSizeSamples, predictions: FloatArray) -> bool:
    """Whether a quantity does not exist, diverges on both sides, or repeats another one.

    One that should repeat another but is finite on one side only does not: it is compared, and disagrees.
    """
    if samples.temperature == 0 and name == "entropy":
        return True
    if not np.any(np.isfinite(predictions)) and not np.any(np.isfinite(samples.values[name])):
        return True
    repeats = (samples.temperature == 0 and name in DUPLICATES_AT_ZERO_TEMPERATURE) or (
        samples.one_law and name == "e_idg"
    )
    return repeats and _is_finite(name, samples, predictions)


@lru_cache(maxsize=4)
def _corrections(samples: FiniteSizeSamples) -> dict[str, FloatArray] | None:
    """Of a chosen model, by quantity: the finite-size theory's corrections at each dimension; None where it has none.

    They do not depend on the theory that is compared, of which there may be several.
    """
    if samples.builtin:
        return None
    return finite_size_corrections(samples.parameters, samples.dimensions, samples.quantities)


def _law(simulation: Simulation) -> dict[str, Any]:
    """What the theory is asked for; of a chosen model also what was chosen."""
    law = {name: getattr(simulation, name) for name in (*PARAMETERS, "tasks")}
    return law if simulation.builtin else law | simulation.parameters.chosen


def _headline(simulation: Simulation) -> str:
    """The quantity without which there is nothing to compare."""
    return "e_icl" if "e_icl" in simulation.quantities else "test_loss"


def _theory_of(simulation: Simulation, theory: Theory) -> Theory:
    """The theory asked for; of a chosen model the one that gives its quantities and no more."""
    return model_theory if theory is solve and not simulation.builtin else theory


def _predictions(samples: FiniteSizeSamples, theory: Theory) -> dict[str, FloatArray]:
    """Quantity -> theory at the parameters asked for, then at the integers and eigenvalues of each dimension."""
    law, solutions = _law(samples), [theory(**_law(samples))]
    for sizes in samples.sizes:
        pooled, tested = math.isfinite(samples.distinct_tasks), samples.test_context_length is not None
        whole = from_unscaled(
            sizes.dimension,
            prompts=sizes.prompts,
            context=sizes.context,
            task_count=sizes.task_count if pooled else None,
            test_context=sizes.test_context if tested else None,
        )
        tasks = samples.tasks if samples.tasks is ISOTROPIC else at_dimension(samples.tasks, sizes.dimension)
        solutions.append(theory(**law | whole | {"tasks": tasks}))
    return {name: np.array([_number(solution, name) for solution in solutions]) for name in samples.quantities}


def _scale(name: str, value: float, samples: FiniteSizeSamples) -> float:
    """What a bias is a share of: the theory's value, but where a share of it would have no meaning.

    The entropy is a logarithm, of widths in units that are a choice: 1. The free energy, energy - T entropy, can be
    zero by chance: |free energy| + T. What is zero but for rounding (e_train for ridge = 0 and tau < 1): E y_t^2.
    """
    if name == "entropy":
        return 1.0
    if name == "free_energy" and samples.temperature > 0:
        return value + samples.temperature
    size = 1 + samples.label_noise
    return value if value > ROUND_OFF * size else size


def _compare_quantity(
    name: str,
    samples: FiniteSizeSamples,
    predictions: FloatArray,
    *,
    powers: tuple[int, ...],
    scale: float,
    false_alarm: float,
    comparisons: int,
    largest_unseen_bias: float,
) -> QuantityAgreement:
    """One row; predictions: theory at the parameters asked for, then at the integers of each dimension."""
    values = samples.values[name]
    if not _is_finite(name, samples, predictions):
        return _disagreement(name, samples, predictions, bonferroni_threshold(false_alarm, comparisons))
    gap = extrapolate(samples.dimensions, values - predictions[1:, None], powers=powers)
    threshold = bonferroni_threshold(false_alarm, comparisons, gap.dof)
    round_off = ROUND_OFF * (1 + samples.label_noise)
    allowed = max(threshold * gap.standard_error + gap.truncation, round_off)
    bias = gap.truncation + smallest_detectable_bias(gap.standard_error, threshold, gap.dof, POWER)
    bias = max(bias, round_off)
    return QuantityAgreement(
        quantity=name,
        theory=float(predictions[0]),
        extrapolated=float(predictions[0]) + gap.value,
        standard_error=gap.standard_error,
        dof=gap.dof,
        z=z_score(gap.value, gap.standard_error),
        threshold=threshold,
        agrees=judged(refused=not abs(gap.value) < allowed, unseen=bias / scale, largest=largest_unseen_bias),
        truncation=gap.truncation,
        smallest_detectable_bias=bias,
        scale=scale,
        fit_p_value=gap.fit_p_value,
        coefficients=tuple(gap.coefficients.tolist()),
        sizes=_sizes(samples, values, predictions),
    )


def _sizes(samples: FiniteSizeSamples, values: FloatArray, predictions: FloatArray) -> tuple[SizeComparison, ...]:
    """One quantity at each dimension; what is not finite there has an infinite z."""
    found = []
    for dimension, row, theory in zip(samples.dimensions, values, predictions[1:].tolist(), strict=True):
        mean, error = map(float, mean_and_error(row)) if np.all(np.isfinite(row)) else (math.nan, math.nan)
        z = z_score(mean - theory, error) if math.isfinite(mean - theory) else math.inf
        found.append(SizeComparison(dimension=dimension, mean=mean, standard_error=error, theory=theory, z=z))
    return tuple(found)


def _disagreement(
    name: str, samples: FiniteSizeSamples, predictions: FloatArray, threshold: float
) -> QuantityAgreement:
    """The row of a quantity with a number that is not finite, in theory or simulation: it cannot agree."""
    return QuantityAgreement(
        quantity=name,
        theory=float(predictions[0]),
        extrapolated=math.nan,
        standard_error=math.nan,
        dof=math.nan,
        z=math.inf,
        threshold=threshold,
        agrees=False,
        truncation=math.nan,
        smallest_detectable_bias=math.nan,
        scale=math.nan,
        fit_p_value=math.nan,
        coefficients=(math.nan,) * (len(fitted_powers(len(samples.dimensions))) + 1),
        sizes=_sizes(samples, samples.values[name], predictions),
    )


def _refuse_other_side(simulation: Simulation) -> None:
    """Without ridge the threshold with the last row is at P = n = D(D+1): just above tau = 1 a small D is below."""
    if simulation.ridge > 0 or not simulation.builtin:
        return
    for sizes in simulation.sizes:
        prompts, spins = sizes.prompts, sizes.dimension * (sizes.dimension + simulation.last_row)
        if (simulation.task_diversity > 1) != (prompts > spins):
            raise ParameterError(
                f"with ridge = 0, dimension {sizes.dimension} has {prompts} prompts for {spins} spins, on the other "
                f"side of the interpolation threshold than task_diversity = {simulation.task_diversity:g} at infinite "
                "dimension; use larger dimensions or ridge > 0"
            )


def _number(solution: object, name: str) -> float:
    """One quantity of a theory at one point; masked is NaN. ParameterTypeError or ParameterError if it is not one."""
    try:
        found = np.ma.filled(np.ma.asarray(getattr(solution, name), dtype=np.float64), math.nan)
    except AttributeError:
        raise ParameterTypeError(
            f"the theory returned {type(solution).__name__} without {name}; it must return an object with the "
            f"attributes {', '.join(QUANTITIES)}"
        ) from None
    except (TypeError, ValueError) as error:
        raise ParameterTypeError(f"the theory's {name} must be a real number: {error}") from None
    if found.size != 1:
        raise ParameterError(f"the theory's {name} must be one number for one point, got an array of {found.size}")
    return float(found.ravel()[0])
