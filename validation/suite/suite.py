"""The whole validation suite, resumable, and its verdict."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_choice, check_count
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.numerics.storage import provenance, without_time
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples, Simulation, simulate_all
from iclglass.validation.statistics import bonferroni_threshold, smallest_detectable_bias
from iclglass.validation.suite.compared import HEADLINE, Compared, compare_point, finite_size_z
from iclglass.validation.suite.controls import Detection, detections
from iclglass.validation.suite.coverage import Coverage, interval_coverage
from iclglass.validation.suite.digits import WorstDigits, worst_digits
from iclglass.validation.suite.points import SCALES, Point, Scale, points
from iclglass.validation.suite.sampled import SampledRow, sampled_rows, sampler_detections
from iclglass.validation.verdict import (
    LARGEST_UNSEEN_BIAS,
    check_largest_unseen_bias,
    combined,
    judged,
    percent,
)

__all__ = ["SAMPLES", "Check", "SuiteResult", "run_suite", "suite_simulations"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
"""Of the asymptotic comparison, all points and quantities together, and of the largest |z| of the finite-size one."""

_COVERED = {"task_diversity": 2.0, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.1}
_COVERED_DIMENSION = 8
_SEEDS = 100_003
SAMPLES = "samples.checkpoint"
"""File of a folder that keeps the finished data sets."""
_COVERED_QUANTITIES = ("m", "q", "e_icl", "e_train")


@dataclass(frozen=True)
class Check:
    """One line of the verdict. found, wanted: in words, with numbers.    passed: None where it could not judge."""

    name: str
    found: str
    wanted: str
    passed: bool | None


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """Everything the page shows.

    points: one result a point.    headline_z: finite-size theory, m, q and e_icl, all points and sizes.
    unseen: of m, q and e_icl, at each point the smallest relative bias of the finite-size theory that would have been
    caught with probability 0.9, at the size that sees most.
    largest_unseen_bias: the largest relative bias that may stay unseen where something agrees.
    """

    scale: str
    seed: int
    dimensions: tuple[int, ...]
    samples: int
    points: tuple[Compared, ...]
    headline_z: FloatArray
    asymptotic_z: FloatArray
    coverages: tuple[Coverage, ...]
    samplers: tuple[SampledRow, ...]
    detections: tuple[Detection, ...]
    digits: WorstDigits
    unseen: dict[str, FloatArray]
    largest_unseen_bias: float
    checks: tuple[Check, ...]
    provenance: str

    @property
    def passed(self) -> bool | None:
        """Whether every check passes; None if none fails and one could not judge."""
        return combined(check.passed for check in self.checks)

    @property
    def sentence(self) -> str:
        """The verdict in words; its first word is Inconclusive where it is."""
        count = sum(check.passed is True for check in self.checks)
        verdicts = [point.agreement.passed for point in self.points]
        said = (
            "" if self.passed is not None else "Inconclusive: no check fails, but some could not have seen an error. "
        )
        return (
            f"{said}{count} of {len(self.checks)} checks pass. {len(self.points)} points fixed beforehand, each at D = "
            f"{', '.join(map(str, self.dimensions))} with {self.samples} independent data sets a size, every data set "
            f"solved exactly. Extrapolated, {verdicts.count(True)} points agree with the asymptotic theory in every "
            f"quantity, {verdicts.count(None)} are inconclusive in some, {verdicts.count(False)} disagree."
        )

    def to_dict(self) -> dict[str, object]:
        """The verdict and its numbers for JSON."""
        return {
            "suite": self.scale,
            "passed": self.passed,
            "sentence": self.sentence,
            "largest_unseen_bias": self.largest_unseen_bias,
            "seed": self.seed,
            "dimensions": list(self.dimensions),
            "samples": self.samples,
            "checks": [asdict(check) for check in self.checks],
            "coverages": [asdict(coverage) for coverage in self.coverages],
            "samplers": [{**asdict(row), "passed": row.passed} for row in self.samplers],
            "detections": [{**asdict(found), "caught": found.caught} for found in self.detections],
            "worst_digits": asdict(self.digits),
            "unseen": {name: biases.tolist() for name, biases in self.unseen.items()},
            "points": [_point_record(result) for result in self.points],
            "provenance": without_time(self.provenance),
        }


def run_suite(
    scale: str = "standard",
    *,
    seed: int = 0,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    folder: Path | None = None,
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    only: Sequence[Point] | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> SuiteResult:
    """Run the suite; simulate what a former run in the same folder has not.

    Parameters
    ----------
    scale : {"standard", "full"}
        See `validation.suite.points.SCALES`.
    seed : int
        Of all random numbers; every point has its own, derived from it.
    largest_unseen_bias : float
        What agrees is only what would have shown a relative bias of this size, with probability 0.9; where nothing
        could, the suite is inconclusive.
    folder : Path, optional
        Where finished data sets are kept, in ``samples.checkpoint``: those of one seed serve both scales.
    executor, workers, progress, say, fresh, resume_anyway
        Where data sets are drawn and kept, as in `validation.simulation.simulate_all`.
    only : sequence of Point, optional
        Other points than those of points.csv, for tests.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError, WorkerError, KeyboardInterrupt
        As `validation.simulation.simulate_all`; a folder that keeps data sets of another seed or other points.
    """
    setting = SCALES[check_choice("suite", scale, tuple(SCALES))]
    seed = check_count("seed", seed, minimum=0)
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    chosen = points() if only is None else tuple(only)
    # Small matrices: one BLAS thread is faster than two, and much faster on a busy machine.
    with one_blas_thread():
        *samples, covered = simulate_all(
            suite_simulations(chosen, setting, seed),
            {"seed": seed, "points": [point.label for point in chosen], "coverage": _COVERED},
            work="validation suite",
            executor=executor,
            workers=workers,
            progress=progress,
            say=say,
            checkpoint=None if folder is None else folder / SAMPLES,
            fresh=fresh,
            resume_anyway=resume_anyway,
        )
        results = [
            compare_point(point, found, false_alarm=FALSE_ALARM / len(chosen), largest_unseen_bias=largest_unseen_bias)
            for point, found in zip(chosen, samples, strict=True)
        ]
        return _judged(results, covered, scale, setting, seed, largest_unseen_bias)


def suite_simulations(chosen: Sequence[Point], setting: Scale, seed: int) -> dict[str, Simulation]:
    """What is simulated: every point, and a point of many data sets for the coverage of error bars, by name.

    Points that shared a seed would share their random numbers, and their z-scores would not be independent.
    """
    found = {
        f"point {number + 1} ": Simulation.of(
            None,
            asdict(point),
            dimensions=setting.dimensions,
            samples=setting.samples,
            seed=seed * _SEEDS + number,
        )
        for number, point in enumerate(chosen)
    }
    many = setting.replicates * setting.group
    covered = Simulation.of(None, _COVERED, dimensions=(_COVERED_DIMENSION,), samples=many, seed=seed * _SEEDS + 99_991)
    return found | {"coverage ": covered}


def _judged(
    results: list[Compared],
    covered: FiniteSizeSamples,
    scale: str,
    setting: Scale,
    seed: int,
    largest_unseen_bias: float,
) -> SuiteResult:
    """The other checks, and the verdict on all."""
    coverages = tuple(
        interval_coverage(name, covered.values[name][0], group=setting.group) for name in _COVERED_QUANTITIES
    )
    sampled = sampled_rows(seed=seed * _SEEDS + 99_987, draws=setting.draws)
    found = (
        *detections(seed=seed * _SEEDS + 99_989),
        *sampler_detections(seed=seed * _SEEDS + 99_987, draws=setting.draws),
    )
    digits = worst_digits(setting.digits, seed=seed)
    headline = finite_size_z(results, HEADLINE)
    asymptotic = finite_size_z(results, HEADLINE, theory="asymptotic")
    unseen = _unseen(results, setting)
    return SuiteResult(
        scale=scale,
        seed=seed,
        dimensions=setting.dimensions,
        samples=setting.samples,
        points=tuple(results),
        headline_z=headline,
        asymptotic_z=asymptotic,
        coverages=coverages,
        samplers=sampled,
        detections=found,
        digits=digits,
        unseen=unseen,
        largest_unseen_bias=largest_unseen_bias,
        checks=_checks(
            results, headline, asymptotic, coverages, sampled, found, digits, unseen, setting, largest_unseen_bias
        ),
        provenance=provenance({"suite": scale}, seed=seed, modules=[__name__], programs=covered.programs),
    )


def _unseen(results: Sequence[Compared], setting: Scale) -> dict[str, FloatArray]:
    """Of the headline quantities, at each point: the smallest relative bias seen, at the size that sees most."""
    threshold = bonferroni_threshold(FALSE_ALARM, _count(results), setting.samples - 1)
    errors = smallest_detectable_bias(1.0, threshold, setting.samples - 1)
    return {
        name: np.array(
            [
                np.min(errors * table[:, 1] / np.abs(table[:, 2]))
                for table in (result.finite[name] for result in results)
            ]
        )
        for name in HEADLINE
    }


def _judged_at(results: Sequence[Compared]) -> dict[str, tuple[int, int]]:
    """Quantity -> points at which it agrees, points at which it was compared."""
    rows = [row for result in results for row in result.agreement.rows]
    verdicts = {name: [row.agrees for row in rows if row.quantity == name] for name in QUANTITIES}
    return {name: (sum(found is True for found in one), len(one)) for name, one in verdicts.items() if one}


def _count(results: Sequence[Compared]) -> int:
    return sum(len(result.finite[name]) for result in results for name in HEADLINE)


def _checks(
    results: Sequence[Compared],
    headline: FloatArray,
    asymptotic: FloatArray,
    coverages: Sequence[Coverage],
    sampled: Sequence[SampledRow],
    found: Sequence[Detection],
    digits: WorstDigits,
    unseen: dict[str, FloatArray],
    setting: Scale,
    largest_unseen_bias: float,
) -> tuple[Check, ...]:
    inside = float(np.mean(np.abs(headline) < 2))
    largest = float(np.max(np.abs(headline)))
    threshold = bonferroni_threshold(FALSE_ALARM, headline.size, setting.samples - 1)
    squares = float(np.mean(headline**2))
    wrong = float(np.mean(asymptotic**2))
    rows = [row for result in results for row in result.agreement.rows]
    failed = [result.point.label for result in results if result.agreement.passed is False]
    judged_at = _judged_at(results)
    near = [abs(row.z) < 2 for row in rows]
    close = [good or abs(row.extrapolated - row.theory) < row.truncation for good, row in zip(near, rows, strict=True)]
    missed = [detection.name for detection in found if not detection.caught]
    return (
        Check(
            "closed form against 50 digits (T1)",
            f"largest relative error {digits.error:.1e} at {digits.points} points",
            "<= 1e-10",
            digits.error <= 1e-10,
        ),
        Check(
            "finite-size theory at the size simulated, |z| < 2 (M1)",
            f"{inside:.3f} of {headline.size} values of {', '.join(HEADLINE)}",
            "0.85 to 1",
            inside >= 0.85,
        ),
        Check(
            "finite-size theory, largest |z| (M1)",
            f"{largest:.2f}; at one point alone a bias would have been seen of "
            + ", ".join(f"{name} from {percent(float(np.max(biases)))}" for name, biases in unseen.items())
            + f" (e_icl: {percent(float(np.median(unseen['e_icl'])))} in the median)",
            f"<= {threshold:.2f} (Student t, Bonferroni {FALSE_ALARM:.0%}), biases from "
            f"{percent(largest_unseen_bias)} seen at every point",
            judged(
                refused=not largest <= threshold,
                unseen=float(max(np.max(biases) for biases in unseen.values())),
                largest=largest_unseen_bias,
            ),
        ),
        Check(
            "finite-size theory, chi^2/dof (M1)",
            f"{squares:.2f} (asymptotic theory, not extrapolated: {wrong:.0f})",
            "0.6 to 1.5",
            0.6 <= squares <= 1.5,
        ),
        Check(
            "asymptotic theory against the extrapolation in 1/D, every quantity (M1)",
            f"{len(failed)} of {len(results)} points disagree"
            + ("" if not failed else f": {failed}")
            + "; points that agree: "
            + ", ".join(f"{name} {agreeing} of {count}" for name, (agreeing, count) in judged_at.items())
            + f"; the others could not have seen a bias of {percent(largest_unseen_bias)}",
            f"no point disagrees, at a false-alarm rate of {FALSE_ALARM:.0%} together; every quantity agrees somewhere",
            False if failed else True if all(agreeing for agreeing, _ in judged_at.values()) else None,
        ),
        Check(
            "extrapolated gap within two standard errors or its truncation (M2)",
            f"{np.mean(close):.3f} of {len(rows)} quantities, {len(setting.dimensions)} sizes each "
            f"({np.mean(near):.3f} within two standard errors)",
            ">= 0.9",
            bool(np.mean(close) >= 0.9),
        ),
        Check(
            "coverage of 95 % intervals (M3)",
            ", ".join(f"{entry.quantity} {entry.rate:.3f}" for entry in coverages)
            + f" ({coverages[0].replicates} replicates, +- {coverages[0].standard_error:.3f})",
            "0.93 to 0.97",
            all(entry.honest for entry in coverages),
        ),
        Check(
            "samplers against the exact Gaussian (M4)",
            f"{sum(row.passed for row in sampled)} of {len(sampled)} moments of "
            f"{len({row.method for row in sampled})} samplers, largest |z| {max(abs(row.z) for row in sampled):.2f}",
            f"all |z| <= {sampled[0].threshold:.2f} (Bonferroni 1%)",
            all(row.passed for row in sampled),
        ),
        Check(
            "negative controls caught (M6)",
            f"{len(found) - len(missed)} of {len(found)}" + ("" if not missed else f"; missed: {', '.join(missed)}"),
            "all",
            not missed,
        ),
    )


def _point_record(result: Compared) -> dict[str, object]:
    point = {name: None if value == math.inf else value for name, value in asdict(result.point).items()}
    return {
        "parameters": point,
        "asymptotic_passed": result.agreement.passed,
        "asymptotic": {
            row.quantity: {
                "theory": row.theory,
                "extrapolated": row.extrapolated,
                "standard_error": row.standard_error,
                "truncation": row.truncation,
                "z": row.z,
                "threshold": row.threshold,
                "agrees": row.agrees,
                "unseen": row.unseen,
                "smallest_detectable_bias": row.smallest_detectable_bias,
            }
            for row in result.agreement.rows
        },
        "finite_size": {
            name: {"mean": table[:, 0].tolist(), "standard_error": table[:, 1].tolist(), "theory": table[:, 2].tolist()}
            for name, table in result.finite.items()
        },
    }
