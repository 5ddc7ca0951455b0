"""The validation suite as one self-contained HTML page, with its pictures inline."""

import json
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclglass.numerics.plotting import PALETTE, save_figure
from iclglass.validation.report import paragraph, picture, table, verdict, write_page
from iclglass.validation.suite.compared import HEADLINE, Compared, finite_size_z
from iclglass.validation.suite.suite import SuiteResult
from iclglass.validation.verdict import percent

__all__ = ["draw_extrapolations", "draw_histogram", "write_suite_page"]

SAID = {True: "pass", False: "FAIL", None: "inconclusive"}
SIMULATION, FINITE, ASYMPTOTIC = PALETTE[0], PALETTE[2], PALETTE[1]


def write_suite_page(result: SuiteResult, path: Path, *, force: bool = False) -> None:
    """Write the page.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        histogram, extrapolations = Path(folder) / "z.png", Path(folder) / "extrapolations.png"
        save_figure(draw_histogram(result), histogram)
        save_figure(draw_extrapolations(result), extrapolations)
        sections = [
            ("Verdict", _verdict(result)),
            ("Finite-size theory at the size simulated", [_finite_table(result), _histogram(histogram)]),
            ("Extrapolation in 1/D to the asymptotic theory", [_extrapolations(extrapolations), _point_table(result)]),
            ("Error bars", [_coverage(result)]),
            ("Samplers", _samplers(result)),
            ("Negative controls", [_detections(result)]),
            ("How this was made", _provenance(result)),
        ]
        write_page(path, title=f"Validation of iclglass, suite {result.scale}", sections=sections, force=force)


def _verdict(result: SuiteResult) -> list[str]:
    rows = [[SAID[check.passed], check.name, check.found, check.wanted] for check in result.checks]
    return [verdict(result.sentence, passed=result.passed), table(["", "check", "found", "wanted"], rows, prose=True)]


def _finite_table(result: SuiteResult) -> str:
    rows = []
    names = sorted({name for point in result.points for name in point.finite}, key=_order)
    for chosen in (HEADLINE, *((name,) for name in names)):
        cells = [", ".join(chosen)]
        for theory in ("finite-size", "asymptotic"):
            z = finite_size_z(list(result.points), chosen, theory=theory)
            z = z[np.isfinite(z)]
            inside, worst = float(np.mean(np.abs(z) < 2)), float(np.max(np.abs(z)))
            cells += [f"{inside:.2f}", f"{np.mean(z**2):.2f}", f"{worst:.1f}"]
        rows.append(cells)
    header = ["quantity", "finite size: |z| < 2", "chi^2/dof", "max |z|", "asymptotic: |z| < 2", "chi^2/dof", "max |z|"]
    return table(header, rows)


def _order(name: str) -> int:
    order = ("m", "q", "e_icl", "e_idg", "e_train", "contrast", "energy", "free_energy", "entropy", "q_self")
    return order.index(name) if name in order else len(order)


def draw_histogram(result: SuiteResult) -> Figure:
    """z of m, q and e_icl, finite-size theory, beside the standard normal density."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    edge = max(5.0, float(np.ceil(np.max(np.abs(result.headline_z)))))
    axes.hist(
        result.headline_z,
        bins=np.linspace(-edge, edge, int(4 * edge) + 1).tolist(),
        density=True,
        color=SIMULATION,
        alpha=0.6,
        label=f"{result.headline_z.size} values",
    )
    grid = np.linspace(-edge, edge, 400)
    axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="black", label="standard normal")
    axes.set_xlabel("z: (simulation - finite-size theory)/standard error")
    axes.set_ylabel("density")
    axes.legend()
    return figure


def _histogram(path: Path) -> str:
    return picture(
        path,
        "z-scores of m, q and e_icl of all points and sizes against the finite-size theory. Values of one data set are "
        "correlated, so the histogram is rougher than one of independent values.",
    )


def draw_extrapolations(result: SuiteResult) -> Figure:
    """e_icl against 1/D at every point: simulation, finite-size theory, extrapolation and asymptotic theory."""
    columns = min(4, len(result.points))
    lines = -(-len(result.points) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.3 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, point in zip(panels, result.points, strict=False):
        _draw_point(panel, point)
    for panel in panels[len(result.points) :]:
        panel.remove()
    for panel in panels[max(0, len(result.points) - columns) : len(result.points)]:
        panel.set_xlabel("$1/D$")
    for panel in panels[::columns]:
        panel.set_ylabel(r"$e_{\mathrm{ICL}}$")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_point(panel: Axes, point: Compared) -> None:
    row = next(row for row in point.agreement.rows if row.quantity == "e_icl")
    inverse = 1 / np.array(point.agreement.dimensions)
    mean, error, theory = point.finite["e_icl"].T[:3]
    panel.errorbar(inverse, mean, error, fmt="o", color=SIMULATION, markersize=4, capsize=2, label="simulation")
    panel.plot(inverse, theory, color=FINITE, linestyle="--", label="finite-size theory")
    panel.errorbar(
        [0], [row.extrapolated], [row.standard_error], fmt="s", color="black", markersize=4, capsize=2,
        label="extrapolated",
    )  # fmt: skip
    panel.plot([0], [row.theory], marker="D", color=ASYMPTOTIC, linestyle="none", label="theory, $D \\to \\infty$")
    panel.set_title(_short(point), fontsize=7)
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.25)


def _short(point: Compared) -> str:
    given = point.point
    pool = "" if np.isinf(given.distinct_tasks) else rf", $\kappa={given.distinct_tasks:g}$"
    return (
        rf"$\tau={given.task_diversity:g}$, $\alpha={given.context_length:g}${pool}, $\rho={given.label_noise:g}$, "
        rf"$\lambda={given.ridge:g}$"
    )


def _extrapolations(path: Path) -> str:
    return picture(
        path,
        "Error on a new task, e_icl, against 1/D at every point: simulation (means with standard errors), finite-size "
        "theory at the same sizes, the extrapolation of the simulation to D -> infinity, and the asymptotic theory "
        "there. tau = P/D^2 task diversity, alpha = N/D context length, kappa = K/D distinct tasks, rho label noise, "
        "lambda ridge.",
        panels=True,
    )


def _point_table(result: SuiteResult) -> str:
    rows = []
    for index, compared in enumerate(result.points, start=1):
        worst = max(compared.agreement.rows, key=lambda row: abs(row.z))
        unseen = [f"{row.quantity} ({percent(row.unseen)})" for row in compared.agreement.rows if row.agrees is None]
        bias = next(row for row in compared.agreement.rows if row.quantity == "e_icl")
        rows.append(
            [
                f"{index}: {compared.point.label}",
                {True: "agrees", False: "DISAGREES", None: "inconclusive"}[compared.agreement.passed],
                worst.quantity,
                f"{worst.z:+.2f}",
                worst.limit,
                percent(bias.unseen),
                ", ".join(unseen),
            ]
        )
    header = [
        "point",
        "asymptotic",
        "largest |z|",
        "z",
        "limit + truncation",
        "smallest bias of e_icl seen",
        f"a bias of {percent(result.largest_unseen_bias)} could be unseen in",
    ]
    return table(header, rows, prose=True)


def _coverage(result: SuiteResult) -> str:
    rows = [
        [entry.quantity, f"{entry.rate:.4f}", f"{entry.standard_error:.4f}", f"{entry.replicates}", f"{entry.group}"]
        for entry in result.coverages
    ]
    return table(["quantity", "coverage of the 95 % interval", "+-", "replicates", "data sets each"], rows)


def _detections(result: SuiteResult) -> str:
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
    return table(
        ["wrong on purpose", "check", "statistic", "objects above", "without the change", ""], rows, prose=True
    )


def _samplers(result: SuiteResult) -> list[str]:
    rows = [
        [row.method, row.quantity, f"{row.estimate:.6g}", f"{row.exact:.6g}", f"{row.error:.2g}", f"{row.z:+.2f}"]
        for row in result.samplers
    ]
    note = "Estimates on one data set against the exact Gaussian measure; errors by the Monte Carlo standard error."
    return [
        table(["sampler", "quantity", "estimate", "exact", "standard error", "z"], rows),
        paragraph(note, note=True),
    ]


def _provenance(result: SuiteResult) -> list[str]:
    record = json.loads(result.provenance)
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parameters = result.digits.parameters
    return [
        paragraph(f"iclglass validate --suite {result.scale} --seed {result.seed}"),
        paragraph(f"Versions: {versions}. Revision {record['git_revision']}.", note=True),
        paragraph(
            f"Closed form against 50 digits: largest relative error {result.digits.error:.1e}, of "
            f"{result.digits.quantity}, at " + ", ".join(f"{name} {value:.3g}" for name, value in parameters.items()),
            note=True,
        ),
    ]
