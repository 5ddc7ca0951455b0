"""The list of figures: whole, in the paper's order, and loaded one at a time."""

import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.validation.paper.catalogue import FIGURES, get

PAPER = (*(f"fig-{number}" for number in (1, 2, 3, 4)), *(f"fig-S{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8)))


def test_every_figure_of_the_paper_is_there_in_its_order():
    assert tuple(FIGURES) == PAPER


@pytest.mark.parametrize("name", PAPER)
def test_capitals_do_not_matter(name):
    assert get(name.lower()) is get(name.upper()) is get(name)
    assert get(name).name == name


@pytest.mark.parametrize("name", PAPER)
def test_scales_have_parameters_of_their_own(name):
    assert get(name).checked_parameters("full") != get(name).checked_parameters("quick")
    with pytest.raises(ParameterError, match="scale"):
        get(name).checked_parameters("huge")


@pytest.mark.parametrize("name", ["fig-9", "fig-s9", "S1", "fig-1 ", "", "all"])
def test_another_name_is_refused_with_all_that_are_known(name):
    with pytest.raises(ParameterError) as refused:
        get(name)
    assert str(refused.value) == f"figure {name!r} is unknown; known: {', '.join(PAPER)}, all"
