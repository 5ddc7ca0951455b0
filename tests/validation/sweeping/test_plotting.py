"""Pictures of simulated sweeps: what is drawn, and what is refused before any work."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.plotting import save_figure
from iclglass.validation.sweeping.evaluation import evaluate
from iclglass.validation.sweeping.plotting import draw_simulated, refuse_undrawable
from iclglass.validation.sweeping.results import to_dataset, z_scores
from tests.validation.sweeping.workloads import grid_of

LINE = {"task_diversity": [0.5, 1.0, 2.0], "context_length": 1.0, "dimension": 6}
MAP = LINE | {"context_length": [1.0, 2.0]}


def found(given, **options):
    grid = grid_of(**given, **{"samples": 3, "theory": True} | options)
    return to_dataset(grid, {number: evaluate(point) for number, point in enumerate(grid.points)})


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def sentences(figure):
    return [text.get_text().replace("\n", " ") for panel in figure.axes for text in panel.texts]


def test_a_curve_has_error_bars_and_the_theory():
    dataset = found(LINE)
    figure = draw_simulated(dataset, observable="e_icl")
    panel = figure.axes[0]
    bars = panel.containers[0]
    points, (segments,) = bars.lines[0], bars.lines[2]
    np.testing.assert_array_equal(points.get_ydata(), dataset.e_icl)
    half = [(high[1] - low[1]) / 2 for low, high in segments.get_segments()]
    np.testing.assert_allclose(half, dataset.e_icl_standard_error)
    curve = next(line for line in panel.lines if line.get_label() == "theory at the same sizes")
    np.testing.assert_array_equal(curve.get_ydata(), dataset.e_icl_theory)
    assert sorted(legend_of(figure)) == ["simulation, 3 data sets a point", "theory at the same sizes"]


def test_the_legend_lies_outside_the_panel_and_hides_no_point():
    figure = draw_simulated(found(LINE))
    figure.canvas.draw()
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].get_window_extent().y0


def test_one_data_set_a_point_is_said_to_have_no_error_bars():
    figure = draw_simulated(found(LINE, samples=1))
    assert "simulation, one data set a point, no error bars" in legend_of(figure)
    assert not figure.axes[0].containers[0].has_yerr
    assert sentences(draw_simulated(found(MAP, samples=1))) == ["one data set a point: no standard errors"]


def test_a_map_has_simulation_theory_and_their_difference():
    dataset = found(MAP)
    figure = draw_simulated(dataset, observable="q")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [panel.get_title() for panel in panels] == ["simulation", "theory at the same sizes", "simulation - theory"]
    shown = [np.asarray(panel.collections[0].get_array()).ravel() for panel in panels]
    for drawn, expected in zip(shown, (dataset.q, dataset.q_theory, z_scores(dataset, "q")), strict=True):
        np.testing.assert_array_equal(np.sort(drawn), np.sort(np.asarray(expected).ravel()))


def test_simulation_and_theory_have_one_scale_of_colours():
    dataset = found(MAP)
    figure = draw_simulated(dataset)
    both = np.array([dataset.e_icl, dataset.e_icl_theory])
    panels, bars = [[axes for axes in figure.axes if bool(axes.get_title()) is titled] for titled in (True, False)]
    assert len(bars) == 3
    for panel in panels[:2]:
        assert panel.collections[0].get_clim() == (both.min(), both.max())
    assert bars[0].get_ylim() == bars[1].get_ylim()


def test_a_deviation_without_scatter_is_drawn_at_the_end_of_the_scale():
    dataset = found(MAP)
    dataset["q_standard_error"][0, 0] = 0.0
    panel = draw_simulated(dataset, observable="q").axes[2]
    assert np.isfinite(panel.collections[0].get_clim()).all()
    assert not np.ma.is_masked(panel.collections[0].get_array())


def test_maps_without_any_number_say_why_and_have_no_colour_bar():
    figure = draw_simulated(found(MAP), observable="entropy")
    assert len(figure.axes) == 3
    cold = "no number at any of 6 points: entropy does not exist at temperature 0"
    assert sentences(figure) == [cold, cold, "nothing to compare"]


def test_a_curve_without_any_number_says_why_over_the_range_of_its_grid():
    figure = draw_simulated(found(LINE), observable="entropy")
    assert sentences(figure) == ["no number at any of 3 points: entropy does not exist at temperature 0"]
    assert not figure.legends
    low, high = figure.axes[0].get_xlim()
    assert 0.3 < low < 0.5
    assert 2 < high < 2.2


def test_a_curve_of_the_theory_alone_says_in_the_legend_what_became_of_the_simulation():
    dataset = found(LINE)
    failed = dataset.assign(e_icl=dataset.e_icl * np.nan, status=dataset.status * 0 + int(Status.DIVERGES))
    figure = draw_simulated(failed)
    assert "simulation: no number at any of 3 points: 3 diverging" in legend_of(figure)
    assert not sentences(figure)


def test_without_theory_there_is_one_map_and_one_set_of_points():
    assert len([axes for axes in draw_simulated(found(MAP, theory=False)).axes if axes.get_title()]) == 1
    assert legend_of(draw_simulated(found(LINE, theory=False))) == ["simulation, 3 data sets a point"]


def test_the_road_theory_is_drawn_as_any_sweep():
    assert len(draw_simulated(found(LINE, road="theory")).axes[0].lines) == 1


@pytest.mark.parametrize("given", [LINE, MAP])
def test_failed_points_and_single_data_sets_are_drawn_without_a_warning(given, tmp_path):
    grid = grid_of(**given, samples=1, theory=True)
    done = {number: evaluate(point) for number, point in enumerate(grid.points[1:], start=1)}
    for number, dataset in enumerate((to_dataset(grid, done), to_dataset(grid, {}))):
        save_figure(draw_simulated(dataset), tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("road", "observable", "given", "message"),
    [
        ("message-passing", "entropy", {"ridge": np.ones(2)}, "gives no 'entropy'"),
        ("sampling", "e_train", {"ridge": np.ones(2)}, "gives no 'e_train'"),
        ("simulation", "e_icl", {"ridge": 0.1}, "one or two axes, not 0"),
        ("simulation", "e_icl", dict.fromkeys("abc", np.arange(2.0)), "one or two axes, not 3"),
        ("simulation", "e_icl", {"ridge": np.ones(1), "task_diversity": np.arange(3.0)}, "needs two values"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(road, observable, given, message):
    with pytest.raises(ParameterError, match=message):
        refuse_undrawable(road, observable, given)


def test_what_can_be_drawn_is_not_refused():
    refuse_undrawable("simulation", "e_icl", {"ridge": np.ones(2), "temperature": 0.1})
    refuse_undrawable("training", "energy", {"ridge": np.arange(2.0), "task_diversity": np.arange(3.0)})


def test_three_axes_are_refused_when_drawn():
    dataset = to_dataset(grid_of(**MAP | {"ridge": [0.1, 0.2]}, theory=True), {})
    with pytest.raises(ParameterError, match="one or two axes, not 3"):
        draw_simulated(dataset)
