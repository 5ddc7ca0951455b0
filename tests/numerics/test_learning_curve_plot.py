"""The learning-curve figure shows the numbers of the theory and refuses what it cannot show."""

import matplotlib.colors
import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.learning_curve_plot import draw_learning_curve
from iclglass.numerics.plotting import PALETTE, save_figure
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.stopping_time import best_stopping_time

POINT = {"context_length": 2.0, "label_noise": 0.1, "ridge": 0.01}
DIVERSITIES = [0.5, 1.5, 4.0]


def lines_of(panel, kind):
    """Solid, dashed or marked lines of a panel."""
    found = {"solid": [], "dashed": [], "marked": []}
    for line in panel.get_lines():
        style = "marked" if line.get_marker() == "o" else "solid" if line.get_linestyle() == "-" else "dashed"
        found[style].append(line)
    return found[kind]


def test_lines_are_the_theory():
    figure = draw_learning_curve(task_diversity=DIVERSITIES, **POINT)
    times = np.geomspace(1e-2, 1e3, 400)
    curve = learning_curve(time=times[:, None], task_diversity=DIVERSITIES, **POINT)
    limit = solve(task_diversity=DIVERSITIES, **POINT)
    best = best_stopping_time(task_diversity=DIVERSITIES, **POINT)
    for panel, name in zip(figure.axes, ("e_icl", "e_train"), strict=True):
        solid = lines_of(panel, "solid")
        np.testing.assert_array_equal(np.transpose([line.get_ydata() for line in solid]), getattr(curve, name))
        assert [line.get_color() for line in solid] == list(PALETTE[:3])
        assert [line.get_ydata()[0] for line in lines_of(panel, "dashed")] == list(getattr(limit, name))
        assert [line.get_xdata()[0] for line in lines_of(panel, "marked")] == list(best.time)
    marked = [line.get_ydata()[0] for line in lines_of(figure.axes[0], "marked")]
    np.testing.assert_array_equal(marked, best.e_icl)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:3] == [f"$\\tau = {x:g}$" for x in DIVERSITIES]


def test_no_limit_where_the_flow_does_not_reach_the_saddle_point():
    """Ridgeless below tau = 1 with initial weights; at tau = 1, where it diverges."""
    left = draw_learning_curve(
        task_diversity=[0.5, 1, 2], context_length=2.0, label_noise=0.1, ridge=0, initial_overlap=1
    ).axes[0]
    assert [line.get_color() for line in lines_of(left, "dashed")] == [PALETTE[2]]


def test_a_ridge_family_and_a_single_curve_are_written(tmp_path):
    save_figure(draw_learning_curve(task_diversity=1.2, context_length=2, ridge=[0, 0.1, 9]), tmp_path / "ridge.png")
    save_figure(draw_learning_curve(task_diversity=1.2, context_length=2, time=[0.1, 1, 10]), tmp_path / "one.svg")
    assert (tmp_path / "ridge.png").stat().st_size > 10_000
    assert (tmp_path / "one.svg").stat().st_size > 1_000


def test_a_list_of_context_lengths_is_one_list():
    figure = draw_learning_curve(task_diversity=1.2, context_length=[1, 2])
    assert len(lines_of(figure.axes[0], "solid")) == 2
    assert len({matplotlib.colors.to_hex(line.get_color()) for line in lines_of(figure.axes[0], "solid")}) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ridge": [0.1, 0.2, 0.3]}, "not task_diversity, ridge"),
        ({"task_diversity": np.linspace(1, 2, 8)}, "8 curves"),
        ({"task_diversity": []}, "0 curves"),
        ({"task_diversity": [[1.0, 2.0]]}, "one parameter at most"),
        ({"time": [0, 1]}, "logarithmic"),
        ({"time": [1, np.inf]}, "logarithmic"),
        ({"time": 3.0}, "logarithmic"),
        ({"time": [2, 1]}, "rise"),
        ({"time": [-1, 1]}, "time = -1"),
        ({"initial_overlap": -1}, "initial_overlap = -1"),
    ],
)
def test_what_cannot_be_shown_is_refused(changes, words):
    with pytest.raises(ParameterError) as refused:
        draw_learning_curve(**({"task_diversity": DIVERSITIES} | POINT | changes))
    assert words in str(refused.value)


def test_a_wrong_type_is_refused():
    with pytest.raises(ParameterTypeError, match="time"):
        draw_learning_curve(task_diversity=1, context_length=1, time="long")
