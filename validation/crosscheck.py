"""Theory against finite-size Monte Carlo: simulate, extrapolate in 1/D, compare, pass or fail.

The asymptotic theory holds at D -> infinity; a simulation has D = 16..48, where 1/D corrections are many
error bars. So what is compared is the extrapolation. At dimension D the integers P, N and K are rounded, so
the simulation runs at (tau_D, alpha_D, kappa_D) = (P/D^2, N/D, K/D), not at (tau, alpha, kappa), and with D of the
eigenvalues of a structured task covariance: the gap

    g(D) = simulated mean at D - theory(tau_D, alpha_D, kappa_D)  =  g + a/D (+ b/D^2)

is extrapolated, which removes the rounding, and g is tested against 0 for every quantity. z = g/(its
standard error); the threshold for |z| is a Student t quantile whose Bonferroni correction makes the
false-alarm rate of the whole family of quantities at most the stated one. A gap beyond it is forgiven only up to
the truncation of the polynomial (see `validation.finite_size`), which is reported in every row. A quantity that is
finite on one side only, theory or simulation, disagrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.resuming import described
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum
from iclglass.validation.finite_size import extrapolate
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.pools import at_dimension
from iclglass.validation.simulation import FiniteSizeSamples, simulate
from iclglass.validation.statistics import (
    bonferroni_threshold,
    mean_and_error,
    smallest_detectable_bias,
    z_score,
)

__all__ = ["Agreement", "QuantityAgreement", "SizeComparison", "Theory", "compare", "validate"]

FloatArray = NDArray[np.float64]

ROUND_OFF = 1e-10
"""A gap below this fraction of E y_t^2 is rounding: e_train is 0 for ridge = 0 and tau < 1."""

SMALLEST = 4
"""Smallest dimension that is extrapolated from."""

_LEAST_FALSE_ALARM = 1e-12
"""Below it thresholds are so far out that the power of a check cannot be computed."""

POWER = 0.9
"""Probability with which a bias of the reported smallest detectable size would have failed the check."""

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


@dataclass(frozen=True)
class SizeComparison:
    """One quantity at one dimension, against the asymptotic theory; not part of the verdict.

    mean, standard_error : over the independent data sets.    theory : at (P/D^2, N/D, K/D).    z : their gap in
    errors.
    """

    dimension: int
    mean: float
    standard_error: float
    theory: float
    z: float


@dataclass(frozen=True)
class QuantityAgreement:
    """One quantity: the theory at D -> infinity against the simulation extrapolated to it.

    extrapolated : theory plus the extrapolated gap.    coefficients : of the gap, g + a/D (+ b/D^2).
    threshold : |z| from which the quantity disagrees, were the polynomial exact; truncation : allowance for
    what its first missing term adds to the gap. It agrees if |gap| < threshold standard_error + truncation.
    smallest_detectable_bias : see `POWER`; truncation included.
    fit_p_value : of the polynomial in 1/D; NaN with too few dimensions to test it.
    Where theory or simulation is not finite there is no gap: agrees is False, z infinite, what cannot be computed NaN.
    """

    quantity: str
    theory: float
    extrapolated: float
    standard_error: float
    dof: float
    z: float
    threshold: float
    agrees: bool
    truncation: float
    smallest_detectable_bias: float
    fit_p_value: float
    coefficients: tuple[float, ...]
    sizes: tuple[SizeComparison, ...]


@dataclass(frozen=True)
class Agreement:
    """Result of a cross-check: the parameters, the integers used, and one row a quantity.

    dimensions, prompts, contexts : D, P, N.    order : degree of the polynomial in 1/D.
    false_alarm : a correct theory fails with at most this probability.    rows : the quantities compared.
    left_out : quantities that were not: at these parameters they repeat another one, do not exist or diverge.
    task_counts : K; P where every prompt has its own task (distinct_tasks infinite).
    test_contexts : tokens of a test prompt.    tasks : covariance spectrum, at D its D quantiles.
    compared_with : the theory's function, by its full name.
    programs : which have drawn the data sets, in few words, where there are several.
    """

    task_diversity: float
    context_length: float
    label_noise: float
    ridge: float
    temperature: float
    norm: str
    seed: int
    samples: int
    dimensions: tuple[int, ...]
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    order: int
    false_alarm: float
    rows: tuple[QuantityAgreement, ...]
    distinct_tasks: float = math.inf
    task_counts: tuple[int, ...] = ()
    test_context_length: float | None = None
    test_contexts: tuple[int, ...] = ()
    tasks: TaskSpectrum = ISOTROPIC
    left_out: tuple[str, ...] = ()
    compared_with: str = ""
    programs: tuple[Mapping[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every quantity agrees."""
        return all(row.agrees for row in self.rows)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        names = ", ".join(row.quantity for row in self.rows)
        sizes = ", ".join(map(str, self.dimensions))
        polynomial = "value + a/D" if self.order == 1 else "value + a/D + b/D^2"
        off = [
            str(dimension)
            for index, dimension in enumerate(self.dimensions)
            if any(row.threshold <= abs(row.sizes[index].z) < math.inf for row in self.rows)
        ]
        single = (
            f"The extrapolation is checked, not any single dimension: at D = {', '.join(off)} the simulation "
            "differs from the asymptotic theory by more than the threshold, as 1/D corrections make it."
            if off
            else "The extrapolation is checked; the 1/D correction is beyond the threshold at no dimension."
        )
        if self.passed:
            verdict = "Theory and simulation agree"
        else:
            failed = ", ".join(f"{row.quantity} ({_reason(row)})" for row in self.rows if not row.agrees)
            verdict = f"Theory and simulation disagree in {failed}"
        weak = (
            " Two dimensions cannot test the curvature in 1/D, and make a weak check: use three or more."
            if len(self.dimensions) == 2
            else ""
        )
        blind = [row.quantity for row in self.rows if row.agrees and row.smallest_detectable_bias >= abs(row.theory)]
        if blind:
            weak += (
                f" Inconclusive for {', '.join(blind)}: an error of 100 % could have passed; take more samples or "
                "larger dimensions."
            )
        left_out = (
            f" Left out, as here they repeat another quantity, do not exist or diverge: {', '.join(self.left_out)}."
            if self.left_out
            else ""
        )
        return (
            f"{verdict}: the values of {names} extrapolated to D -> infinity ({polynomial} from D = {sizes}; "
            f"{self.samples} data sets each) were compared with the asymptotic theory, at a false-alarm rate "
            f"of at most {self.false_alarm:g} for all {len(self.rows)} together and with an allowance for the "
            f"polynomial's first missing term. {single}{weak}{left_out}"
        )

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-safe values: NaN and infinities are None."""
        plain = {name: _json_safe(value) for name, value in asdict(self).items()}
        return {"schema_version": 1, "passed": self.passed, "sentence": self.sentence, **plain}


def validate(
    *,
    task_diversity: float,
    context_length: float,
    distinct_tasks: float = math.inf,
    label_noise: float = 0.0,
    ridge: float = 0.1,
    temperature: float = 0.0,
    test_context_length: float | None = None,
    tasks: TaskSpectrum = ISOTROPIC,
    dimension: Sequence[int] = (16, 24, 32),
    samples: int = 32,
    seed: int = 0,
    norm: str = "N",
    false_alarm: float = 0.01,
    theory: Theory = solve,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> Agreement:
    """Simulate, extrapolate and compare with the theory; parameters as in `validation.simulation.simulate`.

    dimension: at least two distinct ones; two cannot test the curvature in 1/D and make a weak check. false_alarm: a
    correct theory fails with at most this probability, all quantities together. theory: any function with the
    signature `Theory`.
    Raises what `simulate` and `compare` raise; disagreement is a result (`passed` is False), not an error.

    >>> found = validate(task_diversity=2, context_length=1, dimension=(6, 8, 12), samples=16)
    >>> found.prompts, [row.quantity for row in found.rows]
    ((72, 128, 288), ['m', 'q', 'chi', 'e_icl', 'e_train', 'contrast', 'energy'])
    """
    false_alarm = check_real("false_alarm", false_alarm, minimum=0.0, above=True, maximum=1.0)
    if false_alarm < _LEAST_FALSE_ALARM:
        raise ParameterError(
            f"false_alarm must be at least {_LEAST_FALSE_ALARM:g}, got {false_alarm:g}: with a smaller one nothing but "
            "an infinite deviation would fail"
        )
    if isinstance(dimension, Sequence) and len(dimension) < 2:
        raise ParameterError(f"dimension must hold at least 2 values to extrapolate in 1/D, got {list(dimension)}")
    if isinstance(dimension, Sequence) and any(isinstance(size, int) and 2 <= size < SMALLEST for size in dimension):
        raise ParameterError(
            f"dimension = {list(dimension)} must be >= {SMALLEST}: below, terms beyond the polynomial in 1/D are not "
            "small and the stated false-alarm rate does not hold"
        )
    _refuse_undefined_theory(
        task_diversity,
        context_length,
        distinct_tasks,
        label_noise,
        ridge,
        temperature,
        test_context_length,
        tasks,
        theory,
    )
    if isinstance(dimension, Sequence) and all(isinstance(size, int) for size in dimension):
        # Known from the integers alone: said before anything is simulated.
        _refuse_other_side(task_diversity, ridge, dimension)
    found = simulate(
        task_diversity=task_diversity,
        context_length=context_length,
        distinct_tasks=distinct_tasks,
        label_noise=label_noise,
        ridge=ridge,
        temperature=temperature,
        test_context_length=test_context_length,
        tasks=tasks,
        norm=norm,
        dimensions=dimension,
        samples=samples,
        seed=seed,
        workers=workers,
        progress=progress,
        checkpoint=checkpoint,
        fresh=fresh,
        resume_anyway=resume_anyway,
    )
    return compare(found, false_alarm=false_alarm, theory=theory)


def _refuse_undefined_theory(
    task_diversity: float,
    context_length: float,
    distinct_tasks: float,
    label_noise: float,
    ridge: float,
    temperature: float,
    test_context_length: float | None,
    tasks: TaskSpectrum,
    theory: Theory,
) -> None:
    """ParameterError, before anything is simulated, where the theory has no number: ridge = 0 at tau = 1."""
    solution = theory(
        task_diversity=np.asarray([task_diversity]),
        context_length=np.asarray([context_length]),
        distinct_tasks=distinct_tasks,
        label_noise=label_noise,
        ridge=ridge,
        temperature=temperature,
        test_context_length=test_context_length,
        tasks=tasks,
    )
    if not np.all(np.isfinite(_attribute(solution, "e_icl"))):
        raise ParameterError(
            f"the theory has no finite e_icl at task_diversity = {task_diversity:g} and ridge = {ridge:g} "
            "(without ridge it diverges at the interpolation threshold, task_diversity = 1); use ridge > 0 "
            "or another task_diversity"
        )


def compare(samples: FiniteSizeSamples, *, false_alarm: float = 0.01, theory: Theory = solve) -> Agreement:
    """Compare finished samples with a theory; the second half of `validate`.

    Compared is every quantity, less `DUPLICATES_AT_ZERO_TEMPERATURE` at T = 0, less e_idg where it is e_icl (every
    prompt has a task of its own, of the law tested on), and less what is finite neither in the theory at any size nor
    in any sample: chi for ridge = 0 and task_diversity < 1. They are listed in `left_out`. Any other number that is not
    finite makes its quantity disagree. ParameterError if with ridge = 0 a dimension lies on the other side of the
    interpolation threshold P = n than the theory, or if the theory or a sample has no finite e_icl.
    """
    predictions = _predictions(samples, theory)
    _refuse_other_side(samples.task_diversity, samples.ridge, samples.dimensions)
    left_out = tuple(name for name in QUANTITIES if _is_left_out(name, samples, predictions[name]))
    compared = [name for name in QUANTITIES if name not in left_out]
    if "e_icl" not in compared or not _is_finite("e_icl", samples, predictions["e_icl"]):
        raise ParameterError(
            f"the theory or a sample has no finite e_icl at task_diversity = {samples.task_diversity:g}, "
            f"ridge = {samples.ridge:g}; use ridge > 0 or another task_diversity"
        )
    scale = ROUND_OFF * (1 + samples.label_noise)
    rows = tuple(
        _compare_quantity(name, samples, predictions[name], false_alarm, len(compared), scale) for name in compared
    )
    return Agreement(
        task_diversity=samples.task_diversity,
        context_length=samples.context_length,
        label_noise=samples.label_noise,
        ridge=samples.ridge,
        temperature=samples.temperature,
        norm=samples.norm,
        seed=samples.seed,
        samples=samples.samples,
        dimensions=samples.dimensions,
        prompts=samples.prompts,
        contexts=samples.contexts,
        order=_order(samples.dimensions),
        false_alarm=false_alarm,
        rows=rows,
        distinct_tasks=samples.distinct_tasks,
        task_counts=samples.task_counts,
        test_context_length=samples.test_context_length,
        test_contexts=samples.test_contexts,
        tasks=samples.tasks,
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


def _order(dimensions: Sequence[int]) -> int:
    """Degree of the polynomial in 1/D, the default of `validation.finite_size.extrapolate`."""
    return 2 if len(dimensions) >= 3 else 1


def _reason(row: QuantityAgreement) -> str:
    """Why a row disagrees, in words."""
    if math.isfinite(row.extrapolated):
        return f"z = {row.z:+.1f}"
    in_theory = math.isfinite(row.theory) and all(math.isfinite(size.theory) for size in row.sizes)
    return "not finite in the simulation" if in_theory else "not finite in the theory"


def _predictions(samples: FiniteSizeSamples, theory: Theory) -> dict[str, FloatArray]:
    """Quantity -> theory at the parameters asked for, then at the integers and eigenvalues of each dimension."""
    solutions = [
        theory(
            task_diversity=np.array([samples.task_diversity]),
            context_length=np.array([samples.context_length]),
            distinct_tasks=samples.distinct_tasks,
            label_noise=samples.label_noise,
            ridge=samples.ridge,
            temperature=samples.temperature,
            test_context_length=samples.test_context_length,
            tasks=samples.tasks,
        )
    ]
    for row, dimension in enumerate(samples.dimensions):
        pooled, tested = math.isfinite(samples.distinct_tasks), samples.test_context_length is not None
        solutions.append(
            theory(
                task_diversity=np.array([samples.prompts[row] / dimension**2]),
                context_length=np.array([samples.contexts[row] / dimension]),
                distinct_tasks=samples.task_counts[row] / dimension if pooled else math.inf,
                label_noise=samples.label_noise,
                ridge=samples.ridge,
                temperature=samples.temperature,
                test_context_length=samples.test_contexts[row] / dimension if tested else None,
                tasks=samples.tasks if samples.tasks is ISOTROPIC else at_dimension(samples.tasks, dimension),
            )
        )
    return {name: np.concatenate([_attribute(solution, name).ravel() for solution in solutions]) for name in QUANTITIES}


def _compare_quantity(
    name: str,
    samples: FiniteSizeSamples,
    predictions: FloatArray,
    false_alarm: float,
    comparisons: int,
    round_off: float,
) -> QuantityAgreement:
    """One row; predictions: theory at the parameters asked for, then at the integers of each dimension."""
    values = samples.values[name]
    if not _is_finite(name, samples, predictions):
        return _disagreement(name, samples, predictions, bonferroni_threshold(false_alarm, comparisons))
    gap = extrapolate(samples.dimensions, values - predictions[1:, None], _order(samples.dimensions))
    threshold = bonferroni_threshold(false_alarm, comparisons, gap.dof)
    means, errors = mean_and_error(values)
    z = z_score(gap.value, gap.standard_error)
    return QuantityAgreement(
        quantity=name,
        theory=float(predictions[0]),
        extrapolated=float(predictions[0]) + gap.value,
        standard_error=gap.standard_error,
        dof=gap.dof,
        z=z,
        threshold=threshold,
        agrees=abs(gap.value) < max(threshold * gap.standard_error + gap.truncation, round_off),
        truncation=gap.truncation,
        smallest_detectable_bias=gap.truncation
        + smallest_detectable_bias(gap.standard_error, threshold, gap.dof, POWER),
        fit_p_value=gap.fit_p_value,
        coefficients=tuple(gap.coefficients.tolist()),
        sizes=tuple(
            SizeComparison(
                dimension=dimension,
                mean=float(mean),
                standard_error=float(error),
                theory=float(prediction),
                z=z_score(float(mean - prediction), float(error)),
            )
            for dimension, mean, error, prediction in zip(
                samples.dimensions, means, errors, predictions[1:], strict=True
            )
        ),
    )


def _disagreement(
    name: str, samples: FiniteSizeSamples, predictions: FloatArray, threshold: float
) -> QuantityAgreement:
    """The row of a quantity with a number that is not finite, in theory or simulation: it cannot agree."""
    sizes = []
    for index, dimension in enumerate(samples.dimensions):
        values, prediction = samples.values[name][index], float(predictions[index + 1])
        mean, error = (
            (float(part) for part in mean_and_error(values)) if np.all(np.isfinite(values)) else (math.nan, math.nan)
        )
        gap = mean - prediction
        z = z_score(gap, error) if math.isfinite(gap) else math.inf
        sizes.append(SizeComparison(dimension=dimension, mean=mean, standard_error=error, theory=prediction, z=z))
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
        fit_p_value=math.nan,
        coefficients=(math.nan,) * (_order(samples.dimensions) + 1),
        sizes=tuple(sizes),
    )


def _refuse_other_side(task_diversity: float, ridge: float, dimensions: Sequence[int]) -> None:
    """Without ridge the threshold is at P = n = D(D+1), not D^2: just above tau = 1 a small D is below."""
    if ridge > 0:
        return
    for dimension in dimensions:
        prompts = round(task_diversity * dimension**2)
        if (task_diversity > 1) != (prompts > dimension * (dimension + 1)):
            raise ParameterError(
                f"with ridge = 0, dimension {dimension} has {prompts} prompts for "
                f"{dimension * (dimension + 1)} spins, on the other side of the interpolation threshold than "
                f"task_diversity = {task_diversity:g} at infinite dimension; use larger dimensions "
                "or ridge > 0"
            )


def _attribute(solution: object, name: str) -> FloatArray:
    return np.asarray(getattr(solution, name), dtype=np.float64)


def _json_safe(value: object) -> object:
    if isinstance(value, np.ndarray):
        return _json_safe(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    return value
