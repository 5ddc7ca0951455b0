"""Solves, training and sampling give the same bits on any number of threads of our own."""

import numpy as np
import pytest

import iclglass.numerics.instance.features as features_module
import iclglass.validation.samplers.heat_bath as heat_bath_module
import iclglass.validation.samplers.target as target_module
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.solve import solve_instance
from iclglass.numerics.running import blas
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.heat_bath import heat_bath
from iclglass.validation.samplers.hmc import Hamiltonian
from iclglass.validation.samplers.target import make_target
from iclglass.validation.training.loop import train
from tests.own_threads import use_threads


def moved(data, way, matrix_free):
    """Two chains after three steps from a given start: where `sample` starts depends on how Lanczos rounds."""
    target, rng = make_target(data, ridge0=0.1, beta=2.0, matrix_free=matrix_free), np.random.default_rng(3)
    transition = way(target)
    state = transition.start(rng.standard_normal((2, target.spins)))
    for _ in range(3):
        state = transition.advance(state, rng)
    return state.positions


ROADS = {
    "conjugate gradients": lambda data: (
        exact(data, ridge0=0.1, beta=2.0, road="cg", probes=4, rng=np.random.default_rng(2)).variance
    ),
    "dual": lambda data: ground_state(data, 0.1, "dual"),
    "message passing": lambda data: solve_instance(data, ridge0=0.1, beta=2.0).mean,
    "training": lambda data: (
        train(data, steps=5, learning_rate=0.1, batch=100, optimiser="adam", rng=np.random.default_rng(3)).weights
    ),
    "hmc, matrix free": lambda data: moved(data, lambda target: Hamiltonian(target, 0.1, 5), True),
    "hmc, dense": lambda data: moved(data, lambda target: Hamiltonian(target, 0.1, 5), False),
    "heat bath, matrix free": lambda data: moved(data, heat_bath, True),
}


@pytest.mark.parametrize("road", ROADS)
def test_the_same_bits_on_any_number_of_threads(monkeypatch, road):
    """Blocks are made small and every helper is woken, so that there is an order to keep."""
    data = draw_prompts(dimension=8, context=8, prompts=300, rng=np.random.default_rng(1))
    monkeypatch.setattr(features_module, "_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(features_module, "_LEAST_BLOCK", 16)
    monkeypatch.setattr(features_module, "_GRAM_ROWS", 16)
    monkeypatch.setattr(target_module, "_COLUMN_ELEMENTS", 5 * 72)
    monkeypatch.setattr(heat_bath_module, "_BLOCK_ELEMENTS", 16 * 8)
    for module in (features_module, target_module, heat_bath_module):
        monkeypatch.setattr(module, "_WORTH_A_THREAD", 1)
    whole, found = blas.Team.in_order, []

    def noted(self, count, *arguments):
        sizes.add((self.size, count > 1))
        return whole(self, count, *arguments)

    monkeypatch.setattr(blas.Team, "in_order", noted)
    for threads in (1, 2, 3, 8):
        sizes: set[tuple[int, bool]] = set()
        library = use_threads(monkeypatch, threads)
        found.append(ROADS[road](data))
        assert (threads, True) in sizes
        assert library.num_threads == threads
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_dense_products_are_those_of_the_matrix(monkeypatch):
    rng = np.random.default_rng(4)
    matrix, rows = rng.standard_normal((37, 37)), rng.standard_normal((3, 37))
    for columns in (1, 5, 36, 37, 100):
        monkeypatch.setattr(target_module, "_COLUMN_ELEMENTS", columns * 37)
        np.testing.assert_allclose(target_module._dense_product(rows, matrix), rows @ matrix, rtol=0, atol=1e-13)
