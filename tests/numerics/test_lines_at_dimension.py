"""Lines of a phase diagram at finite D: the theory of that D changes sign there, and not where it would at infinity."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.phase_diagram import phase_diagram
from iclglass.numerics.saddle_point import solve


@pytest.mark.slow
def test_a_line_of_a_model_lies_where_the_theory_at_that_dimension_changes_sign():
    """Binary spins: along T to a millionth of the grid's spacing; the threshold of D -> infinity is elsewhere."""
    law = {"context_length": 5.0, "spins": "binary", "ridge": 0.1}
    given = {**law, "dimension": 12}
    taus = [2.0, 3.0]
    diagram = phase_diagram(temperature=[0.1, 0.4, 0.9], task_diversity=taus, lines=["at", "contrast=0.8"],
                            **given)  # fmt: skip
    for line, value in zip(diagram.lines, ("replicon", "contrast"), strict=True):
        (part,) = line.parts
        level = 0.8 if value == "contrast" else 0.0
        points = [dict(zip((diagram.x, diagram.y), vertex, strict=True)) for vertex in part]
        assert [point["task_diversity"] for point in points] == taus
        for point in points:
            below, above = (
                float(getattr(solve(**given, **point | {"temperature": point["temperature"] + step}), value)) - level
                for step in (-1e-5, 1e-5)
            )
            assert below * above < 0
            far = law | point
            moved = [float(getattr(solve(**far | {"temperature": far["temperature"] * k}), value)) - level
                     for k in (0.99, 1.01)]  # fmt: skip
            assert moved[0] * moved[1] > 0


def test_along_whole_numbers_a_line_lies_between_two_of_them():
    given = {"ridge": 0.05, "label_noise": 0.1, "dimension": 8}
    diagram = phase_diagram(task_diversity=[0.5, 3.0], context_length=[2.0, 3.0], lines=["contrast=0.7"], **given)
    steps = [(x, y) for part in diagram.lines[0].parts for x, y in part if y in (2.0, 3.0)]
    assert steps
    for tau, alpha in steps:
        assert tau * 64 % 1 == pytest.approx(0.5, abs=1e-3)
        fewer, more = solve(task_diversity=tau + np.array([-0.01, 0.01]), context_length=alpha, **given).contrast
        assert fewer < 0.7 < more


def test_the_best_ridge_at_a_dimension_is_a_minimum_there():
    given = {"context_length": 2.0, "label_noise": 0.3, "dimension": 8}
    diagram = phase_diagram(task_diversity=[1.0, 2.0], ridge=[0.02, 9.0], lines=["best-ridge"], **given)
    (part,) = diagram.lines[0].parts
    assert part[:, 0].tolist() == [1.0, 2.0]
    for tau, ridge in part:
        errors = solve(task_diversity=tau, ridge=ridge * np.array([0.99, 1, 1.01]), **given).e_icl
        assert errors[1] < min(errors[0], errors[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lines": ["peak=tau"]}, "nothing has a slope along task_diversity"),
        ({"lines": ["context-saturation"]}, "nothing has a slope along context_length"),
        ({"lines": ["contrast=0.8"], "distinct_tasks": 2.0}, "the theory averages over drawn pools there"),
        ({"lines": ["crossover"]}, "the theory averages over drawn pools there"),
    ],
)
def test_lines_that_do_not_exist_at_a_dimension_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        phase_diagram(task_diversity=[0.5, 1.0], context_length=[1.0, 2.0], dimension=8, **changes)
