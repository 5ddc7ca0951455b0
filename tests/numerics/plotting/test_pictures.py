"""The other pictures: what they show, what they refuse, and the files they become."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from iclglass.numerics import plotting
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.flow_sweep import flow_sweep
from iclglass.numerics.instance.solve import solve_instance
from iclglass.numerics.iterates import iterates
from iclglass.numerics.plotting import (
    PALETTE,
    draw_extrapolation,
    draw_learning_curve,
    draw_overlaps,
    draw_samples,
    draw_solution,
    draw_state_evolution,
    plot_phase_diagram,
    plot_sweep,
    save_figure,
)
from iclglass.numerics.sweep import sweep
from iclglass.validation.agreement import Agreement, QuantityAgreement, SizeComparison
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.law import boltzmann_law
from iclglass.validation.samplers.overlap import draw_replicas
from iclglass.validation.samplers.sampling import sample

POINT = {"context_length": 2.0, "label_noise": 0.1, "ridge": 0.01}
TAUS = [0.5, 1.5, 4.0]
QUANTITIES = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "contrast")
PNG = b"\x89PNG\r\n\x1a\n"


def lines_of(panel):
    """Solid, dashed and marked lines of a panel, with data."""
    found = {"solid": [], "dashed": [], "marked": []}
    for line in panel.get_lines():
        style = "marked" if line.get_marker() == "o" else "solid" if line.get_linestyle() == "-" else "dashed"
        if len(line.get_xdata()):
            found[style].append(line)
    return found.values()


# --- learning curves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [{"task_diversity": TAUS}, {"task_diversity": 1.2, "ridge": [0.0, 0.1, 9.0]}])
def test_learning_curves_are_those_of_the_dataset(axis):
    data = flow_sweep(**POINT | axis)
    figure = draw_learning_curve(data)
    dim = data.best_time.dims[0]
    shown = (data.best_time >= 0.01) & (data.best_time <= 1000)
    for panel, name in zip(figure.axes, ("e_icl", "e_train"), strict=True):
        solid, dashed, marked = lines_of(panel)
        values = data[name].transpose("time", dim).values
        np.testing.assert_array_equal(np.transpose([line.get_ydata() for line in solid]), values)
        assert [line.get_color() for line in solid] == list(PALETTE[:3])
        ends = data[f"{name}_end"].values
        assert [line.get_ydata()[0] for line in dashed] == ends[ends > 0].tolist()
        assert [line.get_xdata()[0] for line in marked] == data.best_time.values[shown].tolist()
        assert [line.get_ydata()[0] for line in marked] == data[f"{name}_best"].values[shown].tolist()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    symbol = {"task_diversity": r"\tau", "ridge": r"\lambda"}[dim]
    assert labels == [f"${symbol} = {x:g}$" for x in data[dim].values] + [
        r"$t \to \infty$",
        *(["best stopping time $t^*$"] if shown.any() else []),
    ]
    assert r"\alpha = 2" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ridge": [0.1, 0.2, 0.3]}, "not ridge, task_diversity"),
        ({"task_diversity": np.linspace(1, 2, 8)}, "8 curves"),
        ({"task_diversity": []}, "0 curves"),
        ({"time": [0, 1]}, "logarithmic"),
        ({"time": [1, np.inf]}, "logarithmic"),
        ({"time": [2, 1]}, "rise"),
    ],
)
def test_learning_curves_that_cannot_be_shown_are_refused(changes, words):
    data = flow_sweep(**{"task_diversity": TAUS, **POINT, **changes})
    with pytest.raises(ParameterError, match=words):
        draw_learning_curve(data)


def test_a_single_learning_curve_needs_no_axis(tmp_path):
    figure = draw_learning_curve(flow_sweep(task_diversity=1.2, context_length=2, time=[0.1, 1, 10]))
    assert [len(next(iter(lines_of(panel)))) for panel in figure.axes] == [1, 1]
    save_figure(figure, tmp_path / "one.svg")


# --- state evolution -------------------------------------------------------------------------------------------


def data_sets(*dimensions):
    law = {"label_noise": 0.1, "rng": np.random.default_rng(4)}
    return [draw_prompts(dimension=D, context=2 * D, prompts=3 * D**2 // 2, **law) for D in dimensions]


def test_state_evolution_shows_prediction_and_iterates():
    data = iterates(data_sets(8, 6, 8), task_diversity=1.5, **POINT, steps=8)
    figure = draw_state_evolution(data)
    for panel, name in zip(figure.axes, ("m", "q", "e_icl", "change"), strict=True):
        first = int(name == "change")
        lines = panel.get_lines()
        np.testing.assert_array_equal(lines[0].get_ydata(), data[name][first:])
        for colour, size, runs in ((0, 6, [1]), (1, 8, [0, 2])):
            dashed, points = [line for line in lines if line.get_color() == PALETTE[colour]][:2]
            np.testing.assert_array_equal(dashed.get_ydata(), data[f"{name}_finite"].sel(dimension=size)[first:])
            run = data[f"{name}_run"][runs, first:].mean("data_set")  # of two, the median
            np.testing.assert_allclose(points.get_ydata(), run, rtol=1e-12)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [r"$D \to \infty$", "$D = 6$, 1 data set", "$D = 8$, 2 data sets"]
    assert len(lines) == 1 + 2 * 2 + 1  # and the slope


def test_a_growing_iteration_has_no_slope_and_too_many_dimensions_are_refused():
    data = iterates(task_diversity=0.5, context_length=1.0, ridge=0.0, steps=5)
    assert len(draw_state_evolution(data).axes[3].get_lines()) == 1
    with pytest.raises(ParameterError, match="7 dimensions"):
        draw_state_evolution(data.drop_vars("dimension").assign_coords(dimension=np.arange(7)))


# --- cross-check -----------------------------------------------------------------------------------------------


def agreement(quantities=QUANTITIES, sizes=(16, 24, 32), order=2, **given):
    """An agreement with made-up numbers."""
    point = {"task_diversity": 2.0, "context_length": 1.0, "label_noise": 0.0, "ridge": 0.1, "temperature": 0.0}
    counts = {"prompts": tuple(2 * size**2 for size in sizes), "contexts": tuple(sizes), "dimensions": tuple(sizes)}
    judged = {"dof": 40.0, "z": 0.4, "threshold": 3.2, "agrees": True, "truncation": 0.01, "fit_p_value": 0.5}
    rows = tuple(
        QuantityAgreement(
            quantity=name,
            theory=1.0 + index,
            extrapolated=1.02 + index,
            standard_error=0.05,
            smallest_detectable_bias=0.2,
            scale=1.0 + index,
            coefficients=(0.02, 1.5, -3.0)[: order + 1],
            sizes=tuple(SizeComparison(size, 1.1 + index + 1 / size, 0.01, 1.05 + index, 5.0) for size in sizes),
            **judged,
        )
        for index, name in enumerate(quantities)
    )
    run = {"norm": "N", "seed": 0, "samples": 32, "order": order, "false_alarm": 0.01, "rows": rows}
    return Agreement(**point, **counts, **run, **given)


def test_a_cross_check_shows_simulation_fit_and_theory():
    given = agreement()
    figure = draw_extrapolation(given)
    for panel, row in zip(figure.axes, given.rows, strict=True):
        simulation, extrapolated = (c for c in panel.containers if isinstance(c, ErrorbarContainer))
        x, y = simulation.lines[0].get_data()
        np.testing.assert_allclose(x, [1 / size.dimension for size in row.sizes])
        np.testing.assert_allclose(y, [size.mean - size.theory + row.theory for size in row.sizes])
        np.testing.assert_allclose(extrapolated.lines[0].get_xydata(), [[0, row.extrapolated]])
        curves = {str(line.get_label()): line.get_xydata() for line in panel.lines}
        np.testing.assert_allclose(curves["theory"], [[0, row.theory]])
        fit = next(data for label, data in curves.items() if label.startswith("theory + fit"))
        np.testing.assert_allclose(fit[0], [0, row.extrapolated])  # the curve ends in the extrapolated value
        assert panel.get_title() == f"{plotting.style.axis_label(row.quantity)}\n$z = +0.4$ of $3.20 + 0.20$"
    assert r"$\tau = 2$, $\alpha = 1$, $\rho = 0$" in figure.get_suptitle()
    assert "INCONCLUSIVE" not in figure.get_suptitle()
    other = draw_extrapolation(agreement(distinct_tasks=3.0, last_row=False)).get_suptitle()
    assert r"$\kappa = 3$" in other
    assert "no last row" in other


def test_only_compared_quantities_are_drawn_and_the_lowest_panels_have_the_abscissa():
    figure = draw_extrapolation(agreement(quantities=("m", "e_icl", "energy", "q", "e_train")))
    assert len(figure.axes) == 4
    assert all(panel.get_xlabel() for panel in figure.axes[-3:])
    many = draw_extrapolation(agreement(sizes=tuple(range(16, 48, 2)), order=1)).axes[0]
    assert "1/16" not in [label.get_text() for label in many.get_xticklabels()]


# --- one data set ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "gamp"])
def test_a_solution_shows_its_matrices_and_its_history(method):
    (data,) = data_sets(6)
    found = solve_instance(data, ridge0=0.1, beta=2.0, method=method)
    figure = draw_solution(found)
    panels = [axes for axes in figure.axes if axes.get_title()]
    for panel, expected in zip(panels, (found.mean, found.variance[:, :-1]), strict=False):
        np.testing.assert_array_equal(panel.images[0].get_array(), expected)
    assert len(panels) == (2 if method == "exact" else 3)
    if method == "gamp":
        np.testing.assert_array_equal(panels[2].lines[0].get_ydata(), found.history)
    assert figure.get_suptitle() == r"$D = 6$, $\lambda_0 = 0.1$, $\beta = 2$"
    assert len(draw_solution(found.to_dataset()).axes) == len(figure.axes)
    nothing = found.to_dataset().assign(mean=found.to_dataset()["mean"] * np.nan)
    with pytest.raises(ParameterError, match="no finite means"):
        draw_solution(nothing)


def test_samples_and_overlaps_show_their_draws_and_the_theory():
    (data,) = data_sets(5)
    found = sample(data, ridge0=0.1, beta=2.0, draws=60, keep_weights=True, rng=np.random.default_rng(1))
    law = boltzmann_law(data, ridge0=0.1, beta=2.0)
    trace, histogram, overlaps = draw_samples(found, law).axes
    np.testing.assert_array_equal([line.get_ydata() for line in trace.lines[:-1]], found.energies)
    assert trace.lines[-1].get_ydata()[0] == law.energy
    exact = histogram.lines[0].get_xydata()
    assert np.trapezoid(exact[:, 1], exact[:, 0]) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(exact.prod(axis=1), exact[:, 0]) == pytest.approx(law.energy, rel=1e-3)
    assert len(overlaps.containers) == 2
    bare = found.to_dataset().drop_vars(["weights", "overlap"])
    assert len(draw_samples(bare, law).axes) == 2
    given = {"dimension": 5, "context": 10, "ridge": 0.1, "temperature": 0.1, "data_sets": 2, "pairs": 20}
    pairs = [draw_replicas(**given, prompts=count, rng=np.random.default_rng(2)) for count in (15, 50)]
    figure = draw_overlaps(pairs)
    for panel, point in zip(figure.axes, pairs, strict=True):
        assert [line.get_xdata()[0] for line in panel.lines] == [point.theory["q"], point.theory["q_self"]]
    assert [panel.get_title() for panel in figure.axes] == [rf"$\tau = {x}$, 2 data sets" for x in ("0.6", "2")]
    assert figure.get_suptitle() == r"$\alpha = 2$, $\rho = 0$, $\lambda = 0.1$, $T = 0.1$, $D = 5$"


# --- wrong objects, and files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in plotting.__all__ if name.startswith("draw_")])
def test_wrong_objects_are_refused_by_every_picture(name):
    def draw(what):
        given = {"draw_overlaps": ([what],), "draw_samples": (what, what)}.get(name, (what,))
        getattr(plotting, name)(*given, **({"observables": ("m",)} if name == "draw_family" else {}))

    for wrong in (None, 1.0, "a", [1], np.ones(3), xr.DataArray([1.0]), Agreement, object()):
        words = f"must be an xarray.Dataset or a result as \\w+ returns it, got {type(wrong).__name__}"
        with pytest.raises(ParameterTypeError, match=words):
            draw(wrong)
    with pytest.raises(ParameterError, match=r"has no .*: give what"):
        draw(xr.Dataset())


@pytest.fixture(scope="module")
def curve():
    return sweep(task_diversity=[0.5, 1.0], context_length=2.0)


@pytest.mark.parametrize(("ending", "start"), [("png", PNG), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", PNG)])
def test_the_ending_is_the_format_and_nothing_global_is_touched(tmp_path, curve, ending, start):
    plot_sweep(curve, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]
    assert plt.get_fignums() == []  # no pyplot: no window opens, and no figure is kept alive


def test_an_unknown_format_is_refused_and_writes_nothing(tmp_path, curve):
    with pytest.raises(ParameterError, match=r"picture format 'xyz' of .*a\.xyz is unknown; known: .*png.*svg"):
        plot_sweep(curve, tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_picture_is_refused_without_force_and_kept_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    diagram = sweep(task_diversity=[0.5, 1.0], context_length=[1.0, 2.0])
    plot_phase_diagram(diagram, path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        plot_phase_diagram(diagram, path, observable="m")
    assert path.read_bytes() == before
    plot_phase_diagram(diagram, path, observable="m", force=True)
    after = path.read_bytes()
    assert after != before

    def fail(self, name, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_figure(Figure(), path, force=True)
    assert path.read_bytes() == after
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]
