"""Pictures show the numbers of their dataset: the artists' data are compared, never pixels."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgba

from iclglass.numerics.deviations import z_scores
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.lines import Line
from iclglass.numerics.phase_diagram import PhaseDiagram, phase_diagram
from iclglass.numerics.plotting import PALETTE, check_observable, draw_family, draw_phase_diagram, draw_sweep
from iclglass.numerics.plotting.data import absence
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.status import Status
from iclglass.numerics.sweep import sweep

LINES = ["interpolation-threshold", "contrast=0.8", "minimum=tau", "peak=task-diversity", "contrast=0.99999"]
TAUS = np.linspace(0.5, 1.5, 41)
COLD = "entropy does not exist at temperature 0"
MAP = {"context_length": [1.0, 2.0]}


@pytest.fixture(scope="module")
def curve():
    """Through tau = 1 without ridge: one point has no number."""
    return sweep(task_diversity=np.linspace(0.5, 2, 7), context_length=2.0, ridge=0.0, label_noise=0.25)


@pytest.fixture(scope="module")
def diagram():
    alphas = np.geomspace(0.3, 20, 15)
    return phase_diagram(task_diversity=np.linspace(0.3, 4, 20), context_length=alphas, ridge=0.01, lines=LINES)


def simulated(samples=3, **given):
    """A sweep with made-up data sets beside it."""
    theory = sweep(**{"task_diversity": [0.5, 1.0, 2.0], "context_length": 1.0, "dimension": 6} | given)
    found, noise = theory.assign(seed_count=theory.status * 0 + samples), np.random.default_rng(1)
    for name in ("q", "e_icl", "entropy"):
        error = theory[name] * 0 + (0.05 if samples > 1 else np.nan)
        mean = theory[name] + 0.05 * noise.normal(size=error.shape)
        found = found.assign({name: mean, f"{name}_standard_error": error, f"{name}_theory": theory[name]})
    return found


def drawn(draw, *given, **options):
    """Draw for real, so that what only fails while drawing fails here; warnings are errors."""
    figure = draw(*given, **options)
    figure.canvas.draw()
    return figure, figure.axes[0]


def mesh_of(panel):
    (mesh,) = panel.collections
    return mesh


def sentences(figure):
    return [text.get_text().replace("\n", " ") for panel in figure.axes for text in panel.texts]


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("observable", OBSERVABLES)
def test_curves_and_maps_have_the_numbers_of_the_sweep_and_gaps_where_there_is_none_or_infinity(curve, observable):
    figure, axes = drawn(draw_sweep, curve, observable=observable)
    values = curve[observable].values
    assert axes.lines[0].get_xdata().tolist() == curve.task_diversity.values.tolist()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), np.where(np.isfinite(values), values, np.nan))
    assert not np.isfinite(values).all()
    assert axes.lines[0].get_color() == PALETTE[0]
    assert axes.get_xlabel() == r"task diversity $\tau = P/D^2$"
    assert figure.get_suptitle() == r"$\alpha = 2$, $\rho = 0.25$, $\lambda = 0$, $T = 0$"
    label = axes.get_ylabel()
    assert label.startswith("$")
    assert label == r"$m/\sqrt{q}$: contrast ratio" or observable != "contrast"
    swept = sweep(task_diversity=[0.5, 1.0, 1.6], context_length=np.geomspace(1, 9, 4), ridge=0.0)
    figure, axes = drawn(draw_phase_diagram, swept, observable=observable)
    shown = mesh_of(axes).get_array()
    np.testing.assert_array_equal(shown.mask, ~np.isfinite(swept[observable].values.T))
    np.testing.assert_array_equal(shown.compressed(), swept[observable].values.T[~shown.mask])
    assert axes.get_facecolor() == to_rgba("0.8")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert axes.get_ylabel() == r"context length $\alpha = N/D$"
    # At temperature 0 a map of the entropy has no number, and so no colour bar.
    assert [axes.get_ylabel() for axes in figure.axes[1:]] == ([] if observable == "entropy" else [label])


@pytest.mark.parametrize("observable", ["e_icl", "e_idg", "e_icl_gibbs"])
def test_labels_fit_in_the_picture(curve, observable):
    """With a legend below, which takes height."""
    swept = sweep(task_diversity=[0.5, 1.6], context_length=[1.0, 9.0])
    for figure in (
        draw_sweep(curve, observable=observable, beside={"one": curve["m"].values, "two": curve["m"].values}),
        draw_phase_diagram(swept, observable=observable),
    ):
        figure.draw_without_rendering()
        for axes in figure.axes:
            extent = axes.yaxis.label.get_window_extent()
            assert figure.bbox.y0 <= extent.y0
            assert extent.y1 <= figure.bbox.y1


def test_titles_say_the_layer_where_it_is_not_the_usual_one():
    given = {"task_diversity": [1.0, 2.0], "context_length": 2.0, "dimension": 6}
    for layer, words in (
        ({}, "$D = 6$"),
        ({"norm": "N+1", "last_row": False}, "norm N+1, no last row"),
        ({"last_feature": "scaled-tokens"}, "scaled tokens"),
    ):
        assert draw_sweep(sweep(**given, **layer)).get_suptitle().endswith(words)


@pytest.mark.parametrize(
    ("given", "observable", "end", "scale"),
    [
        ({"task_diversity": np.linspace(0.1, 2, 9)}, "e_icl", "x", "linear"),
        ({"task_diversity": np.geomspace(0.1, 100, 9)}, "e_icl", "x", "log"),
        ({"task_diversity": [0.1, 1.0]}, "e_icl", "x", "linear"),
        ({"task_diversity": [1.0]}, "e_icl", "x", "linear"),
        ({"task_diversity": TAUS, "ridge": 1e-6}, "e_icl", "y", "log"),  # over more than a decade and a half
        ({"task_diversity": TAUS, "ridge": 1.0}, "e_icl", "y", "linear"),
        ({"task_diversity": TAUS, "ridge": 1e-6, "temperature": 0.5}, "entropy", "y", "linear"),  # negative
    ],
)
def test_axes_are_logarithmic_where_the_grid_is_and_where_values_are_steep(given, observable, end, scale):
    _, axes = drawn(draw_sweep, sweep(context_length=1.0, **given), observable=observable)
    assert getattr(axes, f"get_{end}scale")() == scale


@pytest.mark.parametrize("noise", [0.0, [0.0, 0.5]])
def test_a_picture_without_any_number_says_why_and_keeps_its_range(noise):
    """A grey map alone would be silent, a colour bar of nothing would tell numbers that are nowhere."""
    empty = sweep(task_diversity=1.0, context_length=[1.0, 2.0, 3.0], label_noise=noise, ridge=0)
    figure, axes = drawn(draw_sweep, empty)
    assert sentences(figure) == [f"no number at any of {empty.status.size} points: {empty.status.size} diverging"]
    assert len(figure.axes) == 1
    low, high = axes.get_xlim()
    assert 0.4 < low < 1
    assert 3 < high < 3.6
    assert noise or not axes.get_yticks().size
    partly = sweep(task_diversity=[1.0, 1.5, 2.0], context_length=1.0, ridge=0)
    assert drawn(draw_sweep, partly)[1].get_xlim()[0] < 1


def test_an_observable_that_does_not_exist_is_named():
    warm, cold = (sweep(task_diversity=[0.5, 1.5], context_length=1.0, temperature=value) for value in (0.5, 0.0))
    assert absence(warm, "entropy") == ""
    assert absence(cold, "entropy") == f"no number at any of 2 points: {COLD}"
    cold["status"][0] = int(Status.NOT_CONVERGED)
    assert absence(cold, "entropy").endswith(f"points: {COLD}, 1 not converged")
    cold["m"] = cold["m"] * np.nan
    assert absence(cold, "m") == "no number at any of 2 points: 1 converged without m, 1 not converged"
    cold["status"][:] = [int(Status.DIVERGES), int(Status.LOST)]
    assert absence(cold, "m") == "no number at any of 2 points: 1 diverging, 1 lost"


@pytest.mark.parametrize(("start", "stop"), [(0.25, 8.0), (0.2, 20.0), (1.0, 1.5), (0.002, 0.1), (3.0, 40.0)])
def test_ticks_of_up_to_two_decades_are_plain_numbers_apart_from_each_other(start, stop):
    _, axes = drawn(draw_sweep, sweep(task_diversity=2.0, context_length=np.geomspace(start, stop, 5)))
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    both = (*axes.get_xticklabels(which="major"), *axes.get_xticklabels(which="minor"))
    shown = [label for label in both if label.get_text() and low <= label.get_position()[0] <= high]
    assert len(shown) >= 3
    assert [float(label.get_text()) for label in shown] == pytest.approx([label.get_position()[0] for label in shown])
    boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    _, wide = drawn(draw_sweep, sweep(task_diversity=2.0, context_length=np.geomspace(0.01, 100, 5)))
    assert "10^{" in wide.get_xticklabels()[2].get_text()


def test_colours_are_logarithmic_when_the_values_span_more_than_a_decade_and_a_half(diagram):
    steep, flat = (mesh_of(draw_phase_diagram(diagram, observable=name).axes[0]).norm for name in ("e_icl", "contrast"))
    values = diagram.dataset.e_icl.values
    assert (steep.vmin, steep.vmax) == (values.min(), values.max())
    assert (isinstance(steep, LogNorm), isinstance(flat, LogNorm)) == (True, False)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0.5, 1.0, 1.5], [0.25, 0.75, 1.25, 1.75]),
        ([6.0, 1.0, 2.0], [0.5, 1.5, 4.0, 8.0]),
        ([0.5, 4.0], [0.0, 2.25, 5.75]),
        ([0.0, 0.5, 1.0], [-0.25, 0.25, 0.75, 1.25]),
        ([1.0, 4.0, 16.0], [0.5, 2.0, 8.0, 32.0]),
        (np.geomspace(0.01, 100, 5), 10.0 ** np.linspace(-2.5, 2.5, 6)),
    ],
)
def test_a_map_shows_whole_cells_centred_on_their_points(values, edges):
    """Of even, uneven, unsorted and logarithmic axes; none but that of 0 reaches below 0, where no parameter is."""
    swept = sweep(task_diversity=2.0, ridge=values, context_length=[1.0, 2.0])
    _, axes = drawn(draw_sweep, swept)
    np.testing.assert_allclose(mesh_of(axes).get_coordinates()[:, 0, 1], edges, rtol=1e-9)
    assert axes.get_ylim() == pytest.approx((edges[0], edges[-1]))
    np.testing.assert_array_equal(mesh_of(axes).get_array(), swept.e_icl.sortby("ridge").transpose("ridge", ...).values)


@pytest.mark.parametrize("draw", [draw_phase_diagram, draw_sweep])
@pytest.mark.parametrize("saved", [False, True])
def test_located_lines_are_drawn_vertex_for_vertex_and_named(diagram, draw, saved):
    figure, axes = drawn(draw, diagram.to_dataset() if saved else diagram)
    wanted = [part for line in diagram.lines for part in line.parts]
    for line, part in zip(axes.lines, wanted, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), part)
    names = [rf"{kind} of $e_{{\mathrm{{ICL}}}}$ along $\tau$" for kind in ("minimum", "peak")]
    assert legend_of(figure) == ["interpolation threshold", r"contrast ratio $m/\sqrt{q}$ = 0.8", *names]
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines if line.get_label()[0] != "_"]
    assert len(set(looks)) == len(looks) == 4


def test_the_pieces_of_one_line_look_alike_and_axes_may_be_exchanged(diagram):
    pieces = np.array([[0.5, 1.0], [0.6, 1.0]]), np.array([[2.0, 1.0], [2.1, 1.0]])
    two = PhaseDiagram(diagram.dataset, diagram.y, diagram.x, (Line("minimum=alpha", pieces),))
    figure, axes = drawn(draw_phase_diagram, two)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 1
    assert legend_of(figure) == [r"minimum of $e_{\mathrm{ICL}}$ along $\alpha$"]
    np.testing.assert_array_equal(mesh_of(axes).get_array(), diagram.dataset.e_icl.values)
    bare = PhaseDiagram(diagram.dataset, diagram.x, diagram.y, tuple(line for line in diagram.lines if not line.parts))
    assert bare.lines
    assert not draw_phase_diagram(bare).legends


def test_a_family_has_one_named_curve_for_each_value_and_one_panel_for_each_quantity():
    ridges = [0.001, 0.1, 1.0]
    swept = sweep(task_diversity=np.linspace(0.2, 3, 15), context_length=2.0, ridge=ridges)
    figure, first = drawn(draw_family, swept, observables=("e_icl", "entropy"))
    for panel, name in zip(figure.axes, ("e_icl", "entropy"), strict=True):
        for line, ridge in zip(panel.lines, ridges, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), swept[name].sel(ridge=ridge).values)
        assert (panel.get_xlabel()[:14], panel.get_ylabel()[0]) == ("task diversity", "$")
    assert len({line.get_color() for line in first.lines}) == 3
    assert figure.get_suptitle() == r"$\alpha = 2$, $\rho = 0$, $T = 0$"
    assert [text.get_text() for text in first.get_legend().get_texts()] == [rf"$\lambda = {x:g}$" for x in ridges]
    assert sentences(figure) == [f"no number at any of 45 points: {COLD}"]


def test_a_simulated_curve_has_error_bars_and_the_theory_and_a_legend_that_hides_no_point():
    dataset = simulated()
    figure, panel = drawn(draw_sweep, dataset)
    points, _, (segments,) = panel.containers[0].lines
    np.testing.assert_array_equal(points.get_ydata(), dataset.e_icl)
    half = [(high[1] - low[1]) / 2 for low, high in segments.get_segments()]
    np.testing.assert_allclose(half, dataset.e_icl_standard_error)
    beside = next(line for line in panel.lines if line.get_label() == "theory at the same sizes")
    np.testing.assert_array_equal(beside.get_ydata(), dataset.e_icl_theory)
    assert sorted(legend_of(figure)) == ["simulation, 3 data sets a point", "theory at the same sizes"]
    assert figure.legends[0].get_window_extent().y1 < panel.get_window_extent().y0


def test_a_simulated_map_has_theory_on_the_same_colours_and_their_difference():
    dataset = simulated(**MAP)
    dataset["q_standard_error"][0, 0] = 0.0  # without scatter: infinitely far, drawn at the end of the scale
    figure, _ = drawn(draw_sweep, dataset, observable="q")
    panels, bars = [[axes for axes in figure.axes if bool(axes.get_title()) is titled] for titled in (True, False)]
    assert [panel.get_title() for panel in panels] == ["simulation", "theory at the same sizes", "simulation - theory"]
    z, end = z_scores(dataset, "q"), mesh_of(panels[2]).get_clim()[1]
    assert np.isinf(z).sum() == 1
    assert end >= 4
    for panel, expected in zip(panels, (dataset.q, dataset.q_theory, np.clip(z, -end, end)), strict=True):
        np.testing.assert_array_equal(mesh_of(panel).get_array(), np.asarray(expected).T)
    both = np.array([dataset.q, dataset.q_theory])
    assert [mesh_of(panel).get_clim() for panel in panels[:2]] == 2 * [(both.min(), both.max())]
    assert bars[0].get_ylim() == bars[1].get_ylim()


def test_simulations_say_what_is_missing():
    for given, size in (({}, 3), (MAP, 6)):
        figure = draw_sweep(simulated(**given), observable="entropy")
        said = f"no number at any of {size} points: {COLD}"
        assert sentences(figure) == ([said, said, "nothing to compare"] if given else [said])
        assert not figure.legends
        assert len(figure.axes) == size // 3 * 2 - 1
    one = draw_sweep(simulated(samples=1))
    assert "simulation, one data set a point, no error bars" in legend_of(one)
    assert not one.axes[0].containers[0].has_yerr
    assert sentences(draw_sweep(simulated(samples=1, **MAP))) == ["one data set a point: no standard errors"]
    dataset = simulated()
    lost = dataset.assign(e_icl=dataset.e_icl * np.nan, status=dataset.status * 0 + int(Status.DIVERGES))
    assert "simulation: no number at any of 3 points: 3 diverging" in legend_of(draw_sweep(lost))
    assert not sentences(draw_sweep(lost))
    assert legend_of(draw_sweep(dataset.drop_vars("e_icl_theory"))) == ["simulation, 3 data sets a point"]
    alone = draw_sweep(simulated(**MAP).drop_vars("e_icl_theory"))
    assert [axes.get_title() for axes in alone.axes] == ["simulation", ""]


@pytest.mark.parametrize(
    ("draw", "given", "observable", "message"),
    [
        (draw_sweep, {}, "e_ilc", "quantity 'e_ilc' is unknown; did you mean 'e_icl'"),
        (draw_phase_diagram, MAP, "e_ilc", "quantity 'e_ilc' is unknown; did you mean 'e_icl'"),
        (draw_sweep, {}, "status", "'status' is unknown; known: m, q, q_self"),
        (draw_sweep, {"task_diversity": 1.0}, "m", "one or two axes, not 0: fix the others"),
        (draw_sweep, MAP | {"ridge": [1.0, 2.0]}, "m", "one or two axes, not 3: fix the others"),
        (draw_sweep, MAP | {"task_diversity": [1.5, 1.5]}, "m", "the axis task_diversity of a map needs two values"),
        (draw_phase_diagram, {}, "m", "two axes to be a phase diagram, not 1"),
        (draw_family, {}, "m", "a family of curves has two axes, not 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, given, observable, message):
    swept = sweep(**{"task_diversity": [1.0, 2.0], "context_length": 1.0} | given)
    with pytest.raises(ParameterError, match=message):
        draw(swept, **{"observables": (observable,)} if draw is draw_family else {"observable": observable})
    with pytest.raises(ParameterTypeError, match="must be the name of a quantity"):
        check_observable(1)
    assert check_observable("replicon") == "replicon"
