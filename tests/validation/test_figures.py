"""The picture shows the agreement's numbers: the artists' data are checked, not pixels."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from iclglass.numerics.errors import OutputError
from iclglass.numerics.parameters import Parameters
from iclglass.validation.agreement import Agreement, QuantityAgreement, SizeComparison
from iclglass.validation.figures import LABELS, draw_extrapolation, plot_extrapolation


def agreement(quantities=tuple(LABELS), sizes=(16, 24, 32), order=2) -> Agreement:
    """An agreement with made-up numbers."""
    coefficients = (0.02, 1.5, -3.0)[: order + 1]
    rows = tuple(
        QuantityAgreement(
            quantity=name,
            theory=1.0 + index,
            extrapolated=1.02 + index,
            standard_error=0.05,
            dof=40.0,
            z=0.4,
            threshold=3.2,
            agrees=True,
            truncation=0.01,
            smallest_detectable_bias=0.2,
            scale=1.0 + index,
            fit_p_value=0.5,
            coefficients=coefficients,
            sizes=tuple(SizeComparison(size, 1.1 + index + 1 / size, 0.01, 1.05 + index, 5.0) for size in sizes),
        )
        for index, name in enumerate(quantities)
    )
    return Agreement(
        parameters=Parameters(task_diversity=2.0, context_length=1.0),
        seed=0,
        samples=32,
        dimensions=tuple(sizes),
        order=order,
        false_alarm=0.01,
        rows=rows,
    )


def test_panels_show_simulation_fit_and_theory():
    given = agreement()
    panels = draw_extrapolation(given).axes
    assert len(panels) == len(LABELS)
    for panel, row in zip(panels, given.rows, strict=True):
        simulation, extrapolated = (c for c in panel.containers if isinstance(c, ErrorbarContainer))
        x, y = simulation.lines[0].get_data()
        np.testing.assert_allclose(x, [1 / size.dimension for size in row.sizes])
        np.testing.assert_allclose(y, [size.mean - size.theory + row.theory for size in row.sizes])
        np.testing.assert_allclose(extrapolated.lines[0].get_xydata(), [[0, row.extrapolated]])
        curves = {str(line.get_label()): line.get_xydata() for line in panel.lines}
        np.testing.assert_allclose(curves["theory"], [[0, row.theory]])
        fit = next(data for label, data in curves.items() if label.startswith("theory + fit"))
        np.testing.assert_allclose(fit[0], [0, row.extrapolated])  # the curve ends in the extrapolated value
        assert LABELS[row.quantity] in panel.get_title()


def test_only_compared_quantities_are_drawn():
    figure = draw_extrapolation(agreement(quantities=("m", "e_icl", "energy", "q", "e_train")))
    visible = [panel for panel in figure.axes if panel.get_visible()]
    assert len(visible) == 4
    assert all(panel.get_xlabel() for panel in visible[-3:])


@pytest.mark.parametrize("sizes", [(16, 32), tuple(range(16, 48, 2))])
def test_file_is_a_png_at_any_number_of_sizes(tmp_path, sizes):
    path = tmp_path / "extrapolation.png"
    plot_extrapolation(agreement(sizes=sizes, order=1), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_unwritable_path_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*missing"):
        plot_extrapolation(agreement(), tmp_path / "missing" / "picture.png")
