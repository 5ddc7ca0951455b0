"""Pictures show the numbers of their dataset: the artists' data are compared, never pixels."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure

from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.phase_diagram import PhaseDiagram, phase_diagram
from iclglass.numerics.plotting import (
    PALETTE,
    absence,
    check_observable,
    draw_family,
    draw_phase_diagram,
    draw_sweep,
    fixed_parameters,
    plot_phase_diagram,
    plot_sweep,
    save_figure,
)
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.sweep import sweep

LINES = ["interpolation-threshold", "contrast=0.8", "minimum=tau", "peak=task-diversity", "contrast=0.99999"]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def curve():
    """Through tau = 1 without ridge: one point has no number."""
    return sweep(task_diversity=np.linspace(0.5, 2, 7), context_length=2.0, ridge=0.0, label_noise=0.25)


@pytest.fixture(scope="module")
def diagram():
    return phase_diagram(
        task_diversity=np.linspace(0.3, 4, 20), context_length=np.geomspace(0.3, 20, 15), ridge=0.01, lines=LINES
    )


def mesh_of(axes):
    (mesh,) = axes.collections
    return mesh


def sentence_in(axes):
    (text,) = axes.texts
    return text.get_text().replace("\n", " ")


def drawn(figure):
    """Draw for real, so that what only fails while drawing fails here; warnings are errors."""
    figure.canvas.draw()
    return figure


# --- one axis --------------------------------------------------------------------------------------------------


def test_a_curve_has_the_numbers_of_the_sweep_and_a_gap_where_there_is_none(curve):
    figure = drawn(draw_sweep(curve))
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_xdata().tolist() == curve.task_diversity.values.tolist()
    np.testing.assert_array_equal(line.get_ydata(), curve.e_icl.values)
    assert np.isnan(line.get_ydata()).tolist() == (curve.task_diversity == 1).values.tolist()
    assert line.get_color() == PALETTE[0]


def test_a_curve_says_what_its_axes_and_its_fixed_parameters_are(curve):
    (axes,) = draw_sweep(curve, observable="contrast").axes
    assert axes.get_xlabel() == r"task diversity $\tau = P/D^2$"
    assert axes.get_ylabel() == r"$m/\sqrt{q}$: contrast ratio"
    assert axes.get_title() == r"$\alpha = 2$, $\rho = 0.25$, $\lambda = 0$, $T = 0$"


def test_infinities_are_gaps(curve):
    (axes,) = drawn(draw_sweep(curve, observable="chi")).axes
    shown = axes.lines[0].get_ydata()
    assert np.isinf(curve.chi.values).any()
    np.testing.assert_array_equal(np.isfinite(shown), np.isfinite(curve.chi.values))


@pytest.mark.parametrize(
    ("axis", "scale"),
    [(np.linspace(0.1, 2, 9), "linear"), (np.geomspace(0.1, 100, 9), "log"), ([0.1, 1.0], "linear"), ([1.0], "linear")],
)
def test_the_abscissa_is_logarithmic_when_its_grid_is(axis, scale):
    (axes,) = drawn(draw_sweep(sweep(task_diversity=axis, context_length=1.0))).axes
    assert axes.get_xscale() == scale


def test_the_ordinate_is_logarithmic_when_the_values_span_more_than_a_decade_and_a_half():
    near = sweep(task_diversity=np.linspace(0.5, 1.5, 41), context_length=1.0, ridge=1e-6)
    flat = sweep(task_diversity=np.linspace(0.5, 1.5, 41), context_length=1.0, ridge=1.0)
    negative = sweep(task_diversity=np.linspace(0.5, 1.5, 41), context_length=1.0, ridge=1e-6, temperature=0.5)
    assert draw_sweep(near).axes[0].get_yscale() == "log"
    assert draw_sweep(flat).axes[0].get_yscale() == "linear"
    assert draw_sweep(negative, observable="entropy").axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("observable", OBSERVABLES)
def test_every_observable_has_a_label_and_can_be_drawn(curve, diagram, observable):
    assert drawn(draw_sweep(curve, observable=observable)).axes[0].get_ylabel().startswith("$")
    figure = drawn(draw_phase_diagram(diagram, observable=observable))
    if observable == "entropy":  # at temperature 0 a map without numbers, and so without a colour bar
        assert len(figure.axes) == 1
    else:
        assert figure.axes[1].get_ylabel() == draw_sweep(curve, observable=observable).axes[0].get_ylabel()


def test_a_curve_without_any_number_keeps_its_range_and_says_why():
    (axes,) = drawn(draw_sweep(sweep(task_diversity=1.0, context_length=[1.0, 2.0, 3.0], ridge=0))).axes
    assert np.isnan(axes.lines[0].get_ydata()).all()
    assert sentence_in(axes) == "no number at any of 3 points: 3 diverging"
    low, high = axes.get_xlim()
    assert 0.5 < low < 1
    assert 3 < high < 3.5
    assert not axes.get_yticks().size


def test_a_map_without_any_number_is_grey_and_says_why():
    """A colour bar of nothing, from -0.1 to 0.1, would tell numbers that are nowhere."""
    empty = sweep(task_diversity=1.0, context_length=[1.0, 2.0, 3.0], label_noise=[0.0, 0.5], ridge=0)
    (axes,) = drawn(draw_sweep(empty)).axes
    assert mesh_of(axes).get_array().mask.all()
    assert sentence_in(axes) == "no number at any of 6 points: 6 diverging"


def test_an_observable_that_does_not_exist_is_named():
    warm, cold = (sweep(task_diversity=[0.5, 1.5], context_length=1.0, temperature=value) for value in (0.5, 0.0))
    assert absence(warm, "entropy") == ""
    assert absence(cold, "entropy") == "no number at any of 2 points: entropy does not exist at temperature 0"
    cold["status"][0] = int(Status.NOT_CONVERGED)
    assert absence(cold, "entropy").endswith("points: entropy does not exist at temperature 0, 1 not converged")
    cold["m"] = cold["m"] * np.nan
    assert absence(cold, "m") == "no number at any of 2 points: 1 converged without m, 1 not converged"
    cold["status"][:] = [int(Status.DIVERGES), int(Status.LOST)]
    assert absence(cold, "m") == "no number at any of 2 points: 1 diverging, 1 lost"


def test_the_abscissa_has_its_whole_range_where_its_ends_have_no_number():
    swept = sweep(task_diversity=[1.0, 1.5, 2.0], context_length=1.0, ridge=0.0)
    assert np.isnan(swept.e_icl.values[0])
    assert drawn(draw_sweep(swept)).axes[0].get_xlim()[0] < 1


@pytest.mark.parametrize(("start", "stop"), [(0.25, 8.0), (0.2, 20.0), (1.0, 1.5), (0.002, 0.1), (3.0, 40.0)])
def test_ticks_of_up_to_two_decades_are_plain_numbers_apart_from_each_other(start, stop):
    figure = drawn(draw_sweep(sweep(task_diversity=2.0, context_length=np.geomspace(start, stop, 5))))
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    both = (*axes.get_xticklabels(which="major"), *axes.get_xticklabels(which="minor"))
    shown = [label for label in both if label.get_text() and low <= label.get_position()[0] <= high]
    assert len(shown) >= 3
    assert [float(label.get_text()) for label in shown] == pytest.approx([label.get_position()[0] for label in shown])
    boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_an_axis_of_many_decades_keeps_its_powers_of_ten():
    (axes,) = drawn(draw_sweep(sweep(task_diversity=2.0, context_length=np.geomspace(0.01, 100, 5)))).axes
    assert "10^{" in axes.get_xticklabels()[2].get_text()


# --- two axes --------------------------------------------------------------------------------------------------


def test_a_map_has_the_numbers_of_the_sweep_x_first(diagram):
    figure = drawn(draw_phase_diagram(diagram))
    axes, colours = figure.axes
    shown = mesh_of(axes).get_array()
    np.testing.assert_array_equal(shown, diagram.dataset.e_icl.values.T)
    assert not np.ma.is_masked(shown)
    assert axes.get_xlabel() == r"task diversity $\tau = P/D^2$"
    assert axes.get_ylabel() == r"context length $\alpha = N/D$"
    assert colours.get_ylabel() == r"$e_{\mathrm{ICL}}$: squared error on a new task"
    assert axes.get_title() == r"$\rho = 0$, $\lambda = 0.01$, $T = 0$"
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    corners = mesh_of(axes).get_coordinates()
    assert axes.get_xlim() == tuple(corners[0, [0, -1], 0])
    assert axes.get_ylim() == pytest.approx(corners[[0, -1], 0, 1])


def test_a_sweep_of_two_axes_is_the_map_without_lines(diagram):
    figure = drawn(draw_sweep(diagram.dataset, observable="m"))
    np.testing.assert_array_equal(mesh_of(figure.axes[0]).get_array(), diagram.dataset.m.values.T)
    assert not figure.axes[0].lines
    assert not figure.legends


def test_what_has_no_number_is_masked_on_grey():
    swept = sweep(task_diversity=[0.5, 1.0, 2.0], context_length=1.0, ridge=[0.0, 0.1])
    for observable in ("e_icl", "chi"):
        axes = drawn(draw_sweep(swept, observable=observable)).axes[0]
        shown = mesh_of(axes).get_array()
        np.testing.assert_array_equal(shown.mask, ~np.isfinite(swept[observable].values.T))
        assert shown.mask.any()
        assert axes.get_facecolor() == to_rgba("0.8")


def test_colours_are_logarithmic_when_the_values_span_more_than_a_decade_and_a_half(diagram):
    steep = mesh_of(draw_phase_diagram(diagram, observable="e_icl").axes[0]).norm
    assert isinstance(steep, LogNorm)
    values = diagram.dataset.e_icl.values
    assert (steep.vmin, steep.vmax) == (values.min(), values.max())
    flat = mesh_of(draw_phase_diagram(diagram, observable="contrast").axes[0]).norm
    assert isinstance(flat, Normalize)
    assert not isinstance(flat, LogNorm)


@pytest.mark.parametrize("count", [3, 5, 15])
def test_the_cells_of_a_logarithmic_axis_are_centred_on_their_points_on_that_axis(count):
    """Edges half-way on a linear scale would put a point at the rim of its cell, and the first edge below 0."""
    alphas = np.geomspace(0.01, 100, count)
    swept = sweep(task_diversity=np.linspace(0.5, 2, 4), context_length=alphas)
    axes = drawn(draw_sweep(swept)).axes[0]
    assert axes.get_yscale() == "log"
    edges = mesh_of(axes).get_coordinates()[:, 0, 1]
    assert (edges > 0).all()
    np.testing.assert_allclose(edges[:-1] * edges[1:], alphas**2, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0.5, 1.0, 1.5], [0.25, 0.75, 1.25, 1.75]),
        ([1.0, 2.0, 6.0], [0.5, 1.5, 4.0, 8.0]),
        ([6.0, 1.0, 2.0], [0.5, 1.5, 4.0, 8.0]),
        ([0.5, 4.0], [0.0, 2.25, 5.75]),
        ([1.0, 4.0, 16.0], [0.5, 2.0, 8.0, 32.0]),
    ],
)
def test_a_map_shows_whole_cells(values, edges):
    """Of even, uneven, unsorted and logarithmic axes; no cell reaches below 0, where no parameter is."""
    swept = sweep(task_diversity=values, context_length=[1.0, 2.0], ridge=0.1)
    axes = drawn(draw_sweep(swept)).axes[0]
    np.testing.assert_allclose(mesh_of(axes).get_coordinates()[0, :, 0], edges)
    assert axes.get_xlim() == pytest.approx((edges[0], edges[-1]))
    np.testing.assert_array_equal(mesh_of(axes).get_array(), swept.e_icl.sortby("task_diversity").values.T)


def test_a_cell_of_the_value_zero_is_whole():
    axes = drawn(draw_sweep(sweep(task_diversity=[0.5, 1.5], context_length=1.0, ridge=[0.0, 0.5, 1.0]))).axes[0]
    assert axes.get_ylim() == (-0.25, 1.25)


@pytest.mark.parametrize("diversity", [[1.5], [1.5, 1.5, 1.5]])
def test_a_map_with_an_axis_of_one_value_is_refused_or_a_curve(diversity):
    """A map of zero width shows nothing: an empty grey picture would be a silent failure."""
    swept = sweep(task_diversity=diversity, context_length=[1.0, 2.0, 3.0])
    try:
        axes = drawn(draw_sweep(swept)).axes[0]
    except ParameterError:
        return
    assert len(diversity) == 1
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), swept.e_icl.values[0])


# --- located lines ---------------------------------------------------------------------------------------------


def test_located_lines_are_drawn_vertex_for_vertex(diagram):
    axes = drawn(draw_phase_diagram(diagram)).axes[0]
    wanted = [part for line in diagram.lines for part in line.parts]
    assert len(axes.lines) == len(wanted)
    for line, part in zip(axes.lines, wanted, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), part)


def test_the_legend_names_every_line_that_is_there_and_no_other(diagram):
    figure = draw_phase_diagram(diagram)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "interpolation threshold",
        r"contrast ratio $m/\sqrt{q}$ = 0.8",
        r"minimum of $e_{\mathrm{ICL}}$ along $\tau$",
        r"peak of $e_{\mathrm{ICL}}$ along $\tau$",
    ]
    looks = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if line.get_label()[0] != "_"]
    assert len(set(looks)) == len(looks) == 4


def test_the_pieces_of_one_line_look_alike_and_are_named_once(diagram):
    pieces = np.array([[0.5, 1.0], [0.6, 1.0]]), np.array([[2.0, 1.0], [2.1, 1.0]])
    two = PhaseDiagram(diagram.dataset, diagram.x, diagram.y, (type(diagram.lines[0])("minimum=alpha", pieces),))
    figure = draw_phase_diagram(two)
    one, other = figure.axes[0].lines
    assert (one.get_color(), one.get_linestyle()) == (other.get_color(), other.get_linestyle())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        r"minimum of $e_{\mathrm{ICL}}$ along $\alpha$"
    ]


def test_without_a_line_there_is_no_legend(diagram):
    bare = PhaseDiagram(diagram.dataset, diagram.x, diagram.y, tuple(x for x in diagram.lines if not x.parts))
    assert not draw_phase_diagram(bare).legends


# --- families --------------------------------------------------------------------------------------------------


def test_a_family_has_one_named_curve_for_each_value_and_one_panel_for_each_quantity():
    ridges = [0.001, 0.1, 1.0]
    swept = sweep(task_diversity=np.linspace(0.2, 3, 15), context_length=2.0, ridge=ridges)
    figure = drawn(draw_family(swept, observables=("e_icl", "contrast")))
    assert len(figure.axes) == 2
    for panel, name in zip(figure.axes, ("e_icl", "contrast"), strict=True):
        assert len(panel.lines) == 3
        for line, ridge in zip(panel.lines, ridges, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), swept[name].sel(ridge=ridge).values)
            assert line.get_label() == rf"$\lambda = {ridge:g}$"
        assert panel.get_xlabel() == r"task diversity $\tau = P/D^2$"
        assert panel.get_ylabel().startswith("$")
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3
    assert figure.get_suptitle() == r"$\alpha = 2$, $\rho = 0$, $T = 0$"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        rf"$\lambda = {ridge:g}$" for ridge in ridges
    ]


def test_a_family_needs_two_axes(curve):
    with pytest.raises(ParameterError, match="a family of curves has two axes, not 1"):
        draw_family(curve, observables=("e_icl",))


# --- what is refused, and files --------------------------------------------------------------------------------


def test_an_unknown_quantity_is_refused_with_a_suggestion(curve, diagram):
    for draw, what in ((draw_sweep, curve), (draw_phase_diagram, diagram)):
        with pytest.raises(ParameterError, match="quantity 'e_ilc' is unknown; did you mean 'e_icl'"):
            draw(what, observable="e_ilc")
    with pytest.raises(ParameterError, match="'status' is unknown; known: m, q, q_self"):
        check_observable("status")
    assert check_observable("replicon") == "replicon"


@pytest.mark.parametrize("axes", [0, 3])
def test_a_picture_shows_one_or_two_axes(axes):
    names = ("task_diversity", "context_length", "ridge")
    swept = sweep(**{name: [1.0, 2.0] if place < axes else 1.0 for place, name in enumerate(names)})
    with pytest.raises(ParameterError, match=f"one or two axes, not {axes}: fix the others"):
        draw_sweep(swept)


@pytest.mark.parametrize(("ending", "start"), [("png", PNG), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", PNG)])
def test_the_ending_is_the_format(tmp_path, curve, ending, start):
    plot_sweep(curve, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]


def test_an_unknown_format_is_refused_and_writes_nothing(tmp_path, curve):
    with pytest.raises(ParameterError, match=r"picture format 'xyz' of .*a\.xyz is unknown; known: .*png.*svg"):
        plot_sweep(curve, tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_picture_is_refused_without_force(tmp_path, diagram):
    path = tmp_path / "a.png"
    plot_phase_diagram(diagram, path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        plot_phase_diagram(diagram, path, observable="m")
    assert path.read_bytes() == before
    plot_phase_diagram(diagram, path, observable="m", force=True)
    assert path.read_bytes() != before


def test_a_failing_figure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(self, name, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_figure(Figure(), path, force=True)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def test_drawing_leaves_the_global_state_of_matplotlib_alone(curve, monkeypatch):
    """No pyplot: no window opens, and no figure is kept alive."""
    import matplotlib.pyplot as plt

    drawn(draw_sweep(curve))
    assert plt.get_fignums() == []


def test_a_title_says_the_layer_where_it_is_not_the_usual_one():
    given = {"task_diversity": [1.0, 2.0], "context_length": 2.0, "dimension": 6}
    assert "row" not in fixed_parameters(sweep(**given), ["task_diversity"])
    other = fixed_parameters(sweep(**given, norm="N+1", last_row=False), ["task_diversity"])
    assert other.endswith("norm N+1, no last row")
    assert fixed_parameters(sweep(**given, last_feature="scaled-tokens"), ["task_diversity"]).endswith("scaled tokens")
