"""Pictures of simulated sweeps: what is drawn, and what is refused before any work."""

import numpy as np
import pytest

from numerics.errors import ParameterError
from numerics.plotting import save_figure
from tests.validation.sweeping.workloads import grid_of
from validation.sweeping.evaluation import evaluate
from validation.sweeping.plotting import draw_simulated, refuse_undrawable
from validation.sweeping.results import to_dataset, z_scores

LINE = {"task_diversity": [0.5, 1.0, 2.0], "context_length": 1.0, "dimension": 6}
MAP = LINE | {"context_length": [1.0, 2.0]}


def found(given, **options):
    grid = grid_of(**given, **{"samples": 3, "theory": True} | options)
    return to_dataset(grid, {number: evaluate(point) for number, point in enumerate(grid.points)})


def test_a_curve_has_error_bars_and_the_theory():
    dataset = found(LINE)
    panel = draw_simulated(dataset, observable="e_icl").axes[0]
    bars = panel.containers[0]
    points, (segments,) = bars.lines[0], bars.lines[2]
    np.testing.assert_array_equal(points.get_ydata(), dataset.e_icl)
    half = [(high[1] - low[1]) / 2 for low, high in segments.get_segments()]
    np.testing.assert_allclose(half, dataset.e_icl_standard_error)
    curve = next(line for line in panel.lines if line.get_label() == "theory at the same sizes")
    np.testing.assert_array_equal(curve.get_ydata(), dataset.e_icl_theory)
    assert "3 data sets a point" in panel.get_legend().get_texts()[-1].get_text() + bars.get_label()


def test_a_map_has_simulation_theory_and_their_difference():
    dataset = found(MAP)
    figure = draw_simulated(dataset, observable="q")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [panel.get_title() for panel in panels] == ["simulation", "theory at the same sizes", "simulation - theory"]
    shown = [np.asarray(panel.collections[0].get_array()).ravel() for panel in panels]
    for drawn, expected in zip(shown, (dataset.q, dataset.q_theory, z_scores(dataset, "q")), strict=True):
        np.testing.assert_array_equal(np.sort(drawn), np.sort(np.asarray(expected).ravel()))


def test_without_theory_there_is_one_map_and_one_set_of_points():
    assert len([axes for axes in draw_simulated(found(MAP, theory=False)).axes if axes.get_title()]) == 1
    labels = [text.get_text() for text in draw_simulated(found(LINE, theory=False)).axes[0].get_legend().get_texts()]
    assert labels == ["simulation, 3 data sets a point"]


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
