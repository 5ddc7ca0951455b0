"""The other pictures: what they show, what they refuse, and the files they become."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from iclglass.numerics import plotting
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.instance.solve import solve_instance
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.plotting import (
    PALETTE,
    draw_extrapolation,
    draw_extrapolations,
    draw_learning_curve,
    draw_overlaps,
    draw_samples,
    draw_solution,
    draw_state_evolution,
    plot_phase_diagram,
    plot_sweep,
    save_figure,
)
from iclglass.numerics.stopping_time import best_stopping_time
from iclglass.numerics.sweep import sweep
from iclglass.validation.agreement import Agreement, QuantityAgreement, SizeComparison
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.law import boltzmann_law
from iclglass.validation.samplers.overlap import draw_replicas
from iclglass.validation.samplers.sampling import sample

TAUS = [0.5, 1.5, 4.0]
TIMES = [*np.geomspace(1e-2, 1e3, 50), np.inf]
QUANTITIES = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "contrast")


def lines_of(panel):
    """Solid, dashed and marked lines of a panel, with data."""
    found = {"solid": [], "dashed": [], "marked": []}
    for line in panel.get_lines():
        style = "marked" if line.get_marker() == "o" else "solid" if line.get_linestyle() == "-" else "dashed"
        if len(line.get_xdata()):
            found[style].append(line)
    return found.values()


# --- step by step ----------------------------------------------------------------------------------------------


def flows(time=TIMES, **given):
    """Learning curves along DataArrays, and where to stop."""
    point = {"context_length": 2.0, "label_noise": 0.1, "ridge": 0.01, "task_diversity": TAUS} | given
    named = {name: xr.DataArray(x, [(name, x)]) if np.ndim(x) else x for name, x in point.items()}
    curve = learning_curve(time=xr.DataArray(time, [("time", time)]), **named)
    return curve, learning_curve(time=xr.DataArray(best_stopping_time(**named).time), **named)


@pytest.mark.parametrize("axis", [{}, {"task_diversity": 1.2, "ridge": [0.0, 0.1, 9.0]}, {"task_diversity": 1.2}])
def test_learning_curves_are_those_of_the_dataset(axis):
    curve, stop = flows(**axis)
    figure = draw_learning_curve(curve.to_dataset().assign_coords(label_noise=0.1), stop)
    names = [name for name in curve.e_icl.dims if name != "time"]
    shown = np.ravel((stop.time >= TIMES[0]) & (stop.time <= TIMES[-2]))
    for panel, name in zip(figure.axes, ("e_icl", "e_train"), strict=True):
        solid, dashed, marked = lines_of(panel)
        values = getattr(curve, name).transpose("time", *names).values.reshape(len(TIMES), -1)
        np.testing.assert_array_equal(np.transpose([line.get_ydata() for line in solid]), values[:-1])
        assert [line.get_color() for line in solid] == list(PALETTE[: values.shape[1]])
        assert [line.get_ydata()[0] for line in dashed] == [end for end in values[-1] if end > 0]
        where, least = stop.time.values.ravel(), getattr(stop, name).values.ravel()
        assert [line.get_xdata()[0] for line in marked] == where[shown].tolist()
        assert [line.get_ydata()[0] for line in marked] == least[shown].tolist()
    if names:
        symbol = {"task_diversity": r"\tau", "ridge": r"\lambda"}[names[0]]
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[:3] == [f"${symbol} = {x:g}$" for x in curve.e_icl[names[0]].values]
        assert labels[3:] == [r"$t \to \infty$", "best stopping time $t^*$"]
    assert figure.get_suptitle() == r"$\rho = 0.1$"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ridge": [0.1, 0.2, 0.3]}, "not .*ridge"),
        ({"task_diversity": np.linspace(1, 2, 8)}, "8 curves"),
        ({"time": [0.0, 1.0]}, "logarithmic"),
        ({"time": [1.0, np.inf]}, "logarithmic"),
        ({"time": [2.0, 1.0]}, "rising"),
    ],
)
def test_learning_curves_that_cannot_be_shown_are_refused(changes, words):
    with pytest.raises(ParameterError, match=words):
        draw_learning_curve(flows(**changes)[0])


def test_learning_curves_of_arrays_or_not_along_time_are_refused():
    with pytest.raises(ParameterTypeError, match="curve: a LearningCurve of arrays does not know its parameters"):
        draw_learning_curve(learning_curve(time=[1, 2], task_diversity=1, context_length=1))
    with pytest.raises(ParameterError, match="along time"):
        draw_learning_curve(flows()[1])


def test_state_evolution_shows_prediction_and_iterates():
    names, sizes, steps = ("m", "q", "e_icl", "change"), [6, 8], 9
    rng = np.random.default_rng(1)
    variables = {name: ("step", rng.random(steps) + 1) for name in names}
    variables |= {f"{name}_finite": (("dimension", "step"), rng.random((2, steps)) + 1) for name in names}
    variables |= {f"{name}_run": (("data_set", "step"), rng.random((3, steps)) + 1) for name in names}
    coordinates = {
        "dimension": sizes,
        "data_set_dimension": ("data_set", [8, 6, 8]),
        "step": range(steps),
        "ridge": 0.1,
    }
    data = xr.Dataset({**variables, "rate": 0.5}, coordinates)
    figure = draw_state_evolution(data)
    for panel, name in zip(figure.axes, names, strict=True):
        first = int(name == "change")
        lines = panel.get_lines()
        np.testing.assert_array_equal(lines[0].get_ydata(), data[name][first:])
        for colour, size, runs in ((0, 6, [1]), (1, 8, [0, 2])):
            dashed, points = [line for line in lines if line.get_color() == PALETTE[colour]][:2]
            np.testing.assert_array_equal(dashed.get_ydata(), data[f"{name}_finite"].sel(dimension=size)[first:])
            run = data[f"{name}_run"][runs, first:].mean("data_set")  # of two, the median
            np.testing.assert_allclose(points.get_ydata(), run, rtol=1e-12)
    x, y = lines[-1].get_data()
    assert np.log(y[1] / y[0]) / (x[1] - x[0]) == pytest.approx(2 * np.log(0.5))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [r"$D \to \infty$", "$D = 6$, 1 data set", "$D = 8$, 2 data sets"]
    growing = draw_state_evolution(data.assign(rate=np.nan)).axes[3]
    assert len(growing.get_lines()) == len(lines) - 1
    with pytest.raises(ParameterError, match="7 dimensions"):
        draw_state_evolution(data.drop_dims("dimension").assign_coords(dimension=np.arange(7)))


# --- cross-check -----------------------------------------------------------------------------------------------


def agreement(quantities=QUANTITIES, sizes=(16, 24, 32), order=2, **given):
    """An agreement with made-up numbers."""
    point = Parameters(task_diversity=2.0, context_length=1.0, **given)
    judged = {"dof": 40.0, "z": 0.4, "threshold": 3.2, "agrees": True, "truncation": 0.01, "fit_p_value": 0.5}
    judged |= {"standard_error": 0.05, "smallest_detectable_bias": 0.2, "coefficients": (0.02, 1.5, -3.0)[: order + 1]}
    rows = []
    for number, name in enumerate(quantities, start=1):
        at_sizes = tuple(SizeComparison(size, number + 0.1 + 1 / size, 0.01, number + 0.05, 5.0) for size in sizes)
        values = {"theory": float(number), "extrapolated": number + 0.02, "scale": float(number), "sizes": at_sizes}
        rows.append(QuantityAgreement(quantity=name, **values, **judged))
    run = {"seed": 0, "samples": 32, "powers": (1, 2)[:order], "false_alarm": 0.01, "rows": tuple(rows)}
    return Agreement(parameters=point, dimensions=tuple(sizes), **run)


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
    assert [bool(panel.get_xlabel()) for panel in figure.axes] == [False, True, True, True]
    many = draw_extrapolation(agreement(sizes=tuple(range(16, 48, 2)), order=1)).axes[0]
    assert "1/16" not in [label.get_text() for label in many.get_xticklabels()]


def test_many_cross_checks_have_a_panel_a_point_with_the_finite_size_theory():
    data = agreement().to_dataset().assign(finite=("dimension", [1.0, 2.0, 3.0]))
    figure = draw_extrapolations(5 * [data])
    assert [panel.get_title() for panel in figure.axes] == 5 * [plotting.style.title_of(data)]
    finite = next(line for line in figure.axes[4].lines if line.get_label() == "finite-size theory")
    np.testing.assert_allclose(finite.get_ydata() - [1.0, 2.0, 3.0], 4.0 - 4.05)  # moved as the simulation is
    (histogram,) = plotting.draw_deviations(np.linspace(-6.5, 2, 30)).axes
    assert histogram.lines[0].get_ydata().max() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=1e-3)
    assert histogram.patches[0].get_x() == -7


# --- one data set ----------------------------------------------------------------------------------------------


def data_set(dimension):
    sizes = {"dimension": dimension, "context": 2 * dimension, "prompts": 2 * dimension**2}
    return draw_prompts(**sizes, label_noise=0.1, rng=np.random.default_rng(4))


@pytest.mark.parametrize("method", ["exact", "gamp"])
def test_a_solution_shows_its_matrices_and_its_history(method):
    found = solve_instance(data_set(6), ridge0=0.1, beta=2.0, method=method)
    figure = draw_solution(found)
    panels = [axes for axes in figure.axes if axes.get_title()]
    for panel, expected in zip(panels, (found.mean, found.variance[:, :-1]), strict=False):
        np.testing.assert_array_equal(panel.images[0].get_array(), expected)
    assert len(panels) == (2 if method == "exact" else 3)
    if method == "gamp":
        np.testing.assert_array_equal(panels[2].lines[0].get_ydata(), found.history)
    assert figure.get_suptitle() == r"$\lambda_0 = 0.1$, $\beta = 2$"
    assert len(draw_solution(found.to_dataset()).axes) == len(figure.axes)
    nothing = found.to_dataset().assign(mean=found.to_dataset()["mean"] * np.nan)
    with pytest.raises(ParameterError, match="no finite means"):
        draw_solution(nothing)


def test_samples_and_overlaps_show_their_draws_and_the_theory():
    data = data_set(5)
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
        for bars, values in zip(panel.containers, (point.overlap, point.self_overlap), strict=True):
            bins = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
            assert (bins[0][0], bins[-1][1]) == pytest.approx((values.min(), values.max()))
    assert [panel.get_title() for panel in figure.axes] == [rf"$\tau = {x}$, 2 data sets" for x in ("0.6", "2")]
    assert figure.get_suptitle() == r"$\alpha = 2$, $\rho = 0$, $\lambda = 0.1$, $T = 0.1$, $D = 5$"


# --- wrong objects, and files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({name for name in dir(plotting) if name[:5] == "draw_"} - {"draw_deviations"}))
def test_wrong_objects_are_refused_by_every_picture(name):
    def draw(what):
        given = {"draw_samples": (what, what)}.get(name, ([what] if name.endswith("s") else what,))
        getattr(plotting, name)(*given, **({"observables": ("m",)} if name == "draw_family" else {}))

    for wrong in (None, 1.0, "a", [1], np.ones(3), xr.DataArray([1.0]), Agreement, object()):
        words = f"must be an xarray.Dataset or a result as \\w+ returns it, got {type(wrong).__name__}"
        with pytest.raises(ParameterTypeError, match=words):
            draw(wrong)
    with pytest.raises(ParameterError, match=r"has no .*: give what"):
        draw(xr.Dataset())


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89")]
)
def test_files_have_the_format_of_their_ending_and_are_replaced_by_force_only(tmp_path, monkeypatch, ending, start):
    swept, path = sweep(task_diversity=[0.5, 1.0], context_length=[1.0, 2.0]), tmp_path / f"a.{ending}"
    plot_sweep(swept, path)
    before = path.read_bytes()
    assert before.startswith(start)
    with pytest.raises(OutputError, match="exists"):
        plot_phase_diagram(swept, path, observable="m")
    with pytest.raises(ParameterError, match=r"picture format 'xyz' of .*a\.xyz is unknown; known: .*png.*svg"):
        plot_sweep(swept, tmp_path / "a.xyz")
    assert path.read_bytes() == before
    plot_phase_diagram(swept, path, observable="m", force=True)
    after = path.read_bytes()
    assert after != before

    def fail(self, name, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_figure(Figure(), path, force=True)
    assert path.read_bytes() == after
    assert [found.name for found in tmp_path.iterdir()] == [f"a.{ending}"]
    assert plt.get_fignums() == []  # no pyplot: no window opens, and no figure is kept alive
