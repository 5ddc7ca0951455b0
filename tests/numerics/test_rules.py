"""Quadrature rules of one body's field against adaptive quadrature, and where each may be used."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from iclglass.numerics.lowering.compiled import compiled
from iclglass.numerics.lowering.functions import degree
from iclglass.numerics.lowering.rules import spaced, spacing, truncated
from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.model import linear_attention
from tests.numerics.model_reference import normal_nodes
from tests.tolerances import QUADRATURE

ENDS = [(-1.0, 2.0), (-37.0, 37.0), (0.0, 37.0), (3.0, 3.2), (-3.2, -3.0), (7.0, 12.0), (-20.0, -19.0), (0.1, 0.1001)]


@pytest.mark.parametrize(("low", "high"), ENDS)
def test_two_nodes_average_polynomials_of_degree_two_between_ends(low, high):
    z, weight = truncated(np.array([low]), np.array([high]))
    nearest = float(np.clip(0.0, low, high))

    def moment(power):
        """In units of the density at the end nearest to 0, about that end."""

        def integrand(u):
            return (u - nearest) ** power * np.exp((nearest**2 - u**2) / 2) / np.sqrt(2 * np.pi)

        near = [np.clip(nearest + step, low, high) for step in (-1.5, 0.0, 1.5)]
        stops = np.unique([max(low, nearest - 12), *near, min(high, nearest + 12)])
        return sum(quad(integrand, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pairwise(stops))

    assert np.all((z >= low) & (z <= high))
    for power, loss in ((0, 1), (1, 1e2), (2, 1e4)):
        found = float(np.sum(weight * (z - nearest) ** power)) * np.exp(nearest**2 / 2)
        wanted = moment(power)
        # Far out, the mean is nearly the end: what is left of their difference is 1/end^2 of it.
        digits = QUADRATURE * (loss if abs(nearest) > 5 else 1)
        assert abs(found - wanted) <= digits * max(abs(wanted), 1e-12), power


def test_ends_that_meet_weigh_nothing():
    z, weight = truncated(np.array([2.0, 40.0]), np.array([2.0, 50.0]))
    assert np.all(weight == 0)
    assert np.all(np.isfinite(z))


@pytest.mark.parametrize("steep", [0.1, 1.0, 8.0])
def test_equally_spaced_nodes_average_to_rounding(steep):
    """tanh has poles at pi i/2; a third of the nodes is not enough."""

    z, weight = normal_nodes([0.0])
    wanted = weight @ np.tanh(steep * z) ** 2
    step = spacing(np.array([np.pi / 2 / steep]))
    for half in (True, False):
        z, weight = spaced(step, half=half)
        assert abs(weight @ np.tanh(steep * z) ** 2 - wanted) < 1e-13
    z, weight = spaced(3 * step, half=True)
    assert abs(weight @ np.tanh(steep * z) ** 2 - wanted) > 1e-13


@pytest.mark.parametrize("thermal", [False, True])
def test_an_integrand_of_higher_degree_gets_nodes_of_its_own(thermal):
    """Two nodes a part would be silently wrong for a fourth moment."""
    system = compiled(linear_attention(penalty="elastic_net"), thermal=thermal)
    names = ("tau", "alpha", "alpha_test", "rho", "T", "m", "q", "chi", "K", "M", "Q", "lam", "l1")
    point = dict(zip(names, np.ones((len(names), 1)), strict=True)) | {"T": np.full(1, 0.5 * thermal)}
    fourth = Average(S.pull**4, "prompts"), Average(S.spin**4, "spins")
    prompts, spins = system.prompt_nodes(point), system.spin_nodes(point)
    fine = system.prompt_nodes(point, 2.0, panels=True), system.spin_nodes(point, 2.0, panels=True)
    assert degree(fourth[0].integrand) == 4
    for average in fourth:
        found = system.value(average, point, prompts=prompts, spins=spins)
        np.testing.assert_allclose(found, system.value(average, point, prompts=fine[0], spins=fine[1]), rtol=1e-10)
    # The pull is normal, and two nodes at -+1 make of its kurtosis 1 instead of 3.
    square = system.value(Average(S.pull**2, "prompts"), point, prompts=prompts)
    np.testing.assert_allclose(system.value(fourth[0], point, prompts=prompts), 3 * square**2, rtol=1e-10)
