"""The validation suite as one self-contained HTML page, with its pictures inline."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iclglass.numerics.plotting import draw_deviations, draw_extrapolations, save_figure
from iclglass.validation.agreement import Agreement
from iclglass.validation.report import Banner, Paragraph, Part, Picture, Table, write_page
from iclglass.validation.suite.compared import HEADLINE
from iclglass.validation.suite.models import MODEL_DIMENSIONS
from iclglass.validation.suite.result import SuiteResult
from iclglass.validation.verdict import percent

__all__ = ["write_suite_page"]

SAID = {True: "pass", False: "FAIL", None: "inconclusive"}


def write_suite_page(result: SuiteResult, path: Path, *, force: bool = False) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        histogram, extrapolations = Path(folder) / "z.png", Path(folder) / "extrapolations.png"
        save_figure(draw_deviations(result.headline_z), histogram)
        found = [(point.agreement.to_dataset(), point.finite["e_icl"][:, 2]) for point in result.points]
        points = [data.assign(finite=("dimension", theory)) for data, theory in found]
        save_figure(draw_extrapolations(points), extrapolations)
        agreements = [(point.point.label, point.agreement) for point in result.points]
        sections: list[tuple[str, list[Part]]] = [
            ("Verdict", _verdict(result)),
            ("Finite-size theory at the size simulated", [_finite_table(result), _histogram(histogram)]),
            (
                "Extrapolation in 1/D to the asymptotic theory",
                [_extrapolations(extrapolations), _asymptotic_table(agreements, result.largest_unseen_bias)],
            ),
            *([("Other models", _models(result))] if result.models else []),
            ("Error bars", [_coverage(result)]),
            ("Samplers", _samplers(result)),
            ("Negative controls", [_detections(result)]),
            ("How this was made", _provenance(result)),
        ]
        write_page(path, title=f"Validation of iclglass, suite {result.scale}", sections=sections, force=force)


def _verdict(result: SuiteResult) -> list[Part]:
    rows = [[SAID[check.passed], check.name, check.found, check.wanted] for check in result.checks]
    return [Banner(result.sentence, passed=result.passed), Table(["", "check", "found", "wanted"], rows, prose=True)]


def _finite_table(result: SuiteResult) -> Table:
    rows = []
    for chosen in (HEADLINE, *((name,) for name in result.z["finite-size"])):
        cells = [", ".join(chosen)]
        for values in result.z.values():
            z = np.concatenate([values[name] for name in chosen if name in values])
            z = z[np.isfinite(z)]
            inside, worst = float(np.mean(np.abs(z) < 2)), float(np.max(np.abs(z)))
            cells += [f"{inside:.2f}", f"{np.mean(z**2):.2f}", f"{worst:.1f}"]
        rows.append(cells)
    header = ["quantity", "finite size: |z| < 2", "chi^2/dof", "max |z|", "asymptotic: |z| < 2", "chi^2/dof", "max |z|"]
    return Table(header, rows)


def _histogram(path: Path) -> Picture:
    return Picture(
        path,
        "z-scores of m, q and e_icl of all points and sizes against the finite-size theory. Values of one data set are "
        "correlated, so the histogram is rougher than one of independent values.",
    )


def _extrapolations(path: Path) -> Picture:
    return Picture(
        path,
        "Error on a new task, e_icl, against 1/D at every point: simulation (means with standard errors), finite-size "
        "theory at the same sizes (both moved to the tau and alpha that P and N were rounded from), the asymptotic "
        "theory with the fitted gap, the extrapolation of the simulation to D -> infinity, and the asymptotic theory "
        "there. tau = P/D^2 task diversity, alpha = N/D context length, kappa = K/D distinct tasks, rho label noise, "
        "lambda ridge.",
        panels=True,
    )


def _asymptotic_table(agreements: Sequence[tuple[str, Agreement]], largest_unseen_bias: float) -> Table:
    """Asymptotic theories against the extrapolation, with the label of each."""
    rows = []
    for index, (label, agreement) in enumerate(agreements, start=1):
        worst = max(agreement.rows, key=lambda row: abs(row.z))
        unseen = [f"{row.quantity} ({percent(row.unseen)})" for row in agreement.rows if row.agrees is None]
        error = next(row for row in agreement.rows if row.quantity in ("e_icl", "error_rate"))
        rows.append(
            [
                f"{index}: {label}",
                {True: "agrees", False: "DISAGREES", None: "inconclusive"}[agreement.passed],
                worst.quantity,
                f"{worst.z:+.2f}",
                worst.limit,
                f"{error.quantity} {percent(error.unseen)}",
                ", ".join(unseen),
            ]
        )
    header = [
        "point",
        "asymptotic",
        "largest |z|",
        "z",
        "limit + truncation",
        "smallest bias of the error seen",
        f"a bias of {percent(largest_unseen_bias)} could be unseen in",
    ]
    return Table(header, rows, prose=True)


def _models(result: SuiteResult) -> list[Part]:
    """Other models, where there are some."""
    note = (
        "Other losses, penalties and spins: every data set is minimised or, at T > 0, sampled, and extrapolated to "
        f"D -> infinity from D = {', '.join(map(str, MODEL_DIMENSIONS))}. The diagonal's penalty is taken at the D at "
        "hand. tau = P/D^2 task diversity, alpha = N/D context length, lam ridge, l1 strength of the lasso, "
        "nuclear of the nuclear norm, T temperature."
    )
    agreements = [(model.point.label, model.agreement) for model in result.models]
    return [_asymptotic_table(agreements, result.largest_unseen_bias), Paragraph(note, note=True)]


def _coverage(result: SuiteResult) -> Table:
    rows = [
        [entry.quantity, f"{entry.rate:.4f}", f"{entry.standard_error:.4f}", f"{entry.replicates}", f"{entry.group}"]
        for entry in result.coverages
    ]
    return Table(["quantity", "coverage of the 95 % interval", "+-", "replicates", "data sets each"], rows)


def _detections(result: SuiteResult) -> Table:
    rows = [
        [
            found.name,
            found.check,
            f"{found.statistic:.2f}",
            f"{found.threshold:.2f}",
            f"{found.sound:.2f}",
            "caught" if found.caught else "MISSED",
        ]
        for found in result.detections
    ]
    return Table(
        ["wrong on purpose", "check", "statistic", "objects above", "without the change", ""], rows, prose=True
    )


def _samplers(result: SuiteResult) -> list[Part]:
    rows = [
        [row.method, row.quantity, f"{row.estimate:.6g}", f"{row.exact:.6g}", f"{row.error:.2g}", f"{row.z:+.2f}"]
        for row in result.samplers
    ]
    note = "Estimates on one data set against the exact Gaussian measure; errors by the Monte Carlo standard error."
    return [
        Table(["sampler", "quantity", "estimate", "exact", "standard error", "z"], rows),
        Paragraph(note, note=True),
    ]


def _provenance(result: SuiteResult) -> list[Part]:
    record = json.loads(result.provenance)
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parameters = result.digits.parameters
    return [
        Paragraph(f"iclglass validate --suite {result.scale} --seed {result.seed}"),
        Paragraph(f"Versions: {versions}. Revision {record['git_revision']}.", note=True),
        Paragraph(
            f"Closed form against 50 digits: largest relative error {result.digits.error:.1e}, of "
            f"{result.digits.quantity}, at " + ", ".join(f"{name} {value:.3g}" for name, value in parameters.items()),
            note=True,
        ),
    ]
