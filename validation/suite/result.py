"""What a run of the suite has found: its numbers, its checks, the verdict on all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.running.resuming import Program
from iclglass.numerics.storage import provenance, without_time
from iclglass.validation.agreement import Agreement
from iclglass.validation.statistics import bonferroni_threshold, smallest_detectable_bias
from iclglass.validation.suite.compared import HEADLINE, Compared, finite_size_z
from iclglass.validation.suite.controls import Detection
from iclglass.validation.suite.coverage import Coverage
from iclglass.validation.suite.digits import WorstDigits
from iclglass.validation.suite.models import ComparedModel
from iclglass.validation.suite.sampled import SampledRow
from iclglass.validation.verdict import combined, judged, percent

__all__ = ["FALSE_ALARM", "SuiteResult", "VerdictLine"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
"""Of the asymptotic comparison, all points and quantities together, and of the largest |z| of the finite-size one."""


@dataclass(frozen=True)
class VerdictLine:
    """One line of the verdict. found, wanted: in words, with numbers.    passed: None where it could not judge."""

    name: str
    found: str
    wanted: str
    passed: bool | None


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """Everything the page shows.

    points: one result a point.    models: one a model.    programs: which have drawn the data sets.
    largest_unseen_bias: the largest relative bias that may stay unseen where something agrees.
    """

    scale: str
    seed: int
    dimensions: tuple[int, ...]
    samples: int
    points: tuple[Compared, ...]
    models: tuple[ComparedModel, ...]
    coverages: tuple[Coverage, ...]
    samplers: tuple[SampledRow, ...]
    detections: tuple[Detection, ...]
    digits: WorstDigits
    largest_unseen_bias: float
    programs: tuple[Program, ...]

    @cached_property
    def z(self) -> Mapping[str, Mapping[str, FloatArray]]:
        """By theory, finite-size and asymptotic, and by quantity: z at all points and sizes."""
        names = sorted({name for point in self.points for name in point.finite}, key=_order)
        points = list(self.points)
        return {
            theory: {name: finite_size_z(points, (name,), theory=theory) for name in names}
            for theory in ("finite-size", "asymptotic")
        }

    @cached_property
    def headline_z(self) -> FloatArray:
        """Finite-size theory, m, q and e_icl, all points and sizes."""
        return np.concatenate([self.z["finite-size"][name] for name in HEADLINE])

    @cached_property
    def unseen(self) -> dict[str, FloatArray]:
        """Of m, q and e_icl, at each point the smallest relative bias of the finite-size theory that would have been
        caught with probability 0.9, at the size that sees most."""
        errors = smallest_detectable_bias(1.0, self._threshold, self.samples - 1)
        tables = {name: [point.finite[name] for point in self.points] for name in HEADLINE}
        return {
            name: np.array([np.min(errors * table[:, 1] / np.abs(table[:, 2])) for table in each])
            for name, each in tables.items()
        }

    @property
    def _threshold(self) -> float:
        """|z| allowed to each of the headline values."""
        return bonferroni_threshold(FALSE_ALARM, self.headline_z.size, self.samples - 1)

    @cached_property
    def checks(self) -> tuple[VerdictLine, ...]:
        """The lines of the verdict."""
        return (
            self._digits(),
            *self._finite_size(),
            *self._asymptotic(),
            *self._models(),
            *self._machinery(),
        )

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
            "models": [_model_record(result) for result in self.models],
            "provenance": without_time(self.provenance),
        }

    @cached_property
    def provenance(self) -> str:
        """What it was made from."""
        modules = ["iclglass.validation.suite.suite"]
        return provenance({"suite": self.scale}, seed=self.seed, modules=modules, programs=self.programs)

    def _digits(self) -> VerdictLine:
        return VerdictLine(
            "closed form against 50 digits (T1)",
            f"largest relative error {self.digits.error:.1e} at {self.digits.points} points",
            "<= 1e-10",
            self.digits.error <= 1e-10,
        )

    def _finite_size(self) -> tuple[VerdictLine, ...]:
        z, unseen = self.headline_z, self.unseen
        inside, largest, squares = float(np.mean(np.abs(z) < 2)), float(np.max(np.abs(z))), float(np.mean(z**2))
        wrong = float(np.mean(np.concatenate([self.z["asymptotic"][name] for name in HEADLINE]) ** 2))
        return (
            VerdictLine(
                "finite-size theory at the size simulated, |z| < 2 (M1)",
                f"{inside:.3f} of {z.size} values of {', '.join(HEADLINE)}",
                "0.85 to 1",
                inside >= 0.85,
            ),
            VerdictLine(
                "finite-size theory, largest |z| (M1)",
                f"{largest:.2f}; at one point alone a bias would have been seen of "
                + ", ".join(f"{name} from {percent(float(np.max(biases)))}" for name, biases in unseen.items())
                + f" (e_icl: {percent(float(np.median(unseen['e_icl'])))} in the median)",
                f"<= {self._threshold:.2f} (Student t, Bonferroni {FALSE_ALARM:.0%}), biases from "
                f"{percent(self.largest_unseen_bias)} seen at every point",
                judged(
                    refused=not largest <= self._threshold,
                    unseen=float(max(np.max(biases) for biases in unseen.values())),
                    largest=self.largest_unseen_bias,
                ),
            ),
            VerdictLine(
                "finite-size theory, chi^2/dof (M1)",
                f"{squares:.2f} (asymptotic theory, not extrapolated: {wrong:.0f})",
                "0.6 to 1.5",
                0.6 <= squares <= 1.5,
            ),
        )

    def _asymptotic(self) -> tuple[VerdictLine, ...]:
        rows = [row for point in self.points for row in point.agreement.rows]
        near = [abs(row.z) < 2 for row in rows]
        within = [abs(row.extrapolated - row.theory) < row.truncation for row in rows]
        close = float(np.mean(np.logical_or(near, within)))
        return (
            self._extrapolated(
                "asymptotic theory against the extrapolation in 1/D, every quantity (M1)", "point", self.points
            ),
            VerdictLine(
                "extrapolated gap within two standard errors or its truncation (M2)",
                f"{close:.3f} of {len(rows)} quantities, {len(self.dimensions)} sizes each "
                f"({np.mean(near):.3f} within two standard errors)",
                ">= 0.9",
                close >= 0.9,
            ),
        )

    def _models(self) -> tuple[VerdictLine, ...]:
        name = "theory of other models against the extrapolation in 1/D, every quantity (M1)"
        return (self._extrapolated(name, "model", self.models),) if self.models else ()

    def _extrapolated(self, name: str, what: str, compared: Sequence[Compared | ComparedModel]) -> VerdictLine:
        """Agreements at D -> infinity: none disagrees, and every quantity could be judged somewhere."""
        failed = [each.point.label for each in compared if each.agreement.passed is False]
        verdicts: dict[str, list[bool | None]] = {}
        for row in (row for each in compared for row in each.agreement.rows):
            verdicts.setdefault(row.quantity, []).append(row.agrees)
        agreeing = {quantity: found.count(True) for quantity, found in verdicts.items()}
        return VerdictLine(
            name,
            f"{len(failed)} of {len(compared)} {what}s disagree"
            + ("" if not failed else f": {failed}")
            + f"; {what}s that agree: "
            + ", ".join(f"{quantity} {count} of {len(verdicts[quantity])}" for quantity, count in agreeing.items())
            + f"; the others could not have seen a bias of {percent(self.largest_unseen_bias)}",
            f"no {what} disagrees, at a false-alarm rate of {FALSE_ALARM:.0%} together; every quantity agrees "
            "somewhere",
            False if failed else True if all(agreeing.values()) else None,
        )

    def _machinery(self) -> tuple[VerdictLine, ...]:
        coverages, sampled, found = self.coverages, self.samplers, self.detections
        missed = [detection.name for detection in found if not detection.caught]
        return (
            VerdictLine(
                "coverage of 95 % intervals (M3)",
                ", ".join(f"{entry.quantity} {entry.rate:.3f}" for entry in coverages)
                + f" ({coverages[0].replicates} replicates, +- {coverages[0].standard_error:.3f})",
                "0.93 to 0.97",
                all(entry.honest for entry in coverages),
            ),
            VerdictLine(
                "samplers against the exact Gaussian (M4)",
                f"{sum(row.passed for row in sampled)} of {len(sampled)} moments of "
                f"{len({row.method for row in sampled})} samplers, largest |z| "
                f"{max(abs(row.z) for row in sampled):.2f}",
                f"all |z| <= {sampled[0].threshold:.2f} (Bonferroni 1%)",
                all(row.passed for row in sampled),
            ),
            VerdictLine(
                "negative controls caught (M6)",
                f"{len(found) - len(missed)} of {len(found)}"
                + ("" if not missed else f"; missed: {', '.join(missed)}"),
                "all",
                not missed,
            ),
        )


def _order(name: str) -> int:
    order = ("m", "q", "e_icl", "e_idg", "e_train", "contrast", "energy", "free_energy", "entropy", "q_self")
    return order.index(name) if name in order else len(order)


def _asymptotic_record(agreement: Agreement) -> dict[str, dict[str, object]]:
    names = ("theory", "extrapolated", "standard_error", "truncation", "z", "threshold", "agrees", "unseen")
    return {
        row.quantity: {name: getattr(row, name) for name in (*names, "smallest_detectable_bias")}
        for row in agreement.rows
    }


def _model_record(result: ComparedModel) -> dict[str, object]:
    return {
        "name": result.point.name,
        "parameters": dict(result.point.given),
        "asymptotic_passed": result.agreement.passed,
        "asymptotic": _asymptotic_record(result.agreement),
    }


def _point_record(result: Compared) -> dict[str, object]:
    point = {name: None if value == math.inf else value for name, value in asdict(result.point).items()}
    return {
        "parameters": point,
        "asymptotic_passed": result.agreement.passed,
        "asymptotic": _asymptotic_record(result.agreement),
        "finite_size": {
            name: {"mean": table[:, 0].tolist(), "standard_error": table[:, 1].tolist(), "theory": table[:, 2].tolist()}
            for name, table in result.finite.items()
        },
    }
