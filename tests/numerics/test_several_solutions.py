"""Ternary spins with more than one saddle point: all are found, and the one of least free energy is given."""

from dataclasses import replace

import numpy as np

from iclglass.numerics import handshake
from iclglass.numerics.lowering.compiled import compiled
from iclglass.numerics.saddle_point import solve
from iclglass.replica.model import linear_attention
from tests.numerics.model_reference import Prompts, Spins, coupled

POINT = {"task_diversity": 1.23, "context_length": 4.2, "label_noise": 0.2, "ridge": 0.02, "temperature": 0.125}
TERNARY = {"spins": "ternary", "spacing": 3.4}


def free_energy(m, q, chi):
    """By brute force at order parameters that solve the equations, which it checks."""
    tau, alpha, rho, lam, T = POINT.values()
    prompts = Prompts("squared_error", "linear", tau, alpha, rho, T, m=m, q=q, chi=chi)
    K, M, Q = prompts.fields()
    spins = Spins("ternary", T, K, M, Q, lam=lam, spacing=TERNARY["spacing"])
    np.testing.assert_allclose(spins.answers(), (m, q, chi), rtol=1e-6)
    return coupled(prompts, replace(spins)) + spins.free() + prompts.free()


def test_the_solution_of_least_free_energy_is_given():
    found = solve(**POINT, **TERNARY)
    assert found.solutions == 2
    system = compiled(linear_attention(spins="ternary"), thermal=True)
    symbols = dict(zip(("tau", "alpha", "rho", "lam", "T"), POINT.values(), strict=True))
    symbols |= {"spacing": TERNARY["spacing"], "alpha_test": POINT["context_length"]}
    point = {name: np.array([value]) for name, value in symbols.items()}
    energies = {}
    for start in handshake._STARTS:
        each = handshake._solved_from(start, system, point)
        values = tuple(float(each[name][0]) for name in handshake.ORDER)
        energies[round(values[1], 6)] = free_energy(*values)
        np.testing.assert_allclose(each["free_energy"][0], energies[round(values[1], 6)], rtol=1e-7)
    assert len(energies) == 2
    assert min(energies, key=energies.__getitem__) == round(float(found.q), 6)


def test_a_convex_model_is_solved_once():
    assert solve(task_diversity=1.0, context_length=2.0, l1=0.5).solutions is None
    assert solve(**POINT, spins="binary").solutions is None


def test_a_point_does_not_depend_on_its_company():
    """Alone and on a grid, to the error stated."""
    rng = np.random.default_rng(4)
    grid = {"task_diversity": rng.uniform(0.5, 3, 40), "temperature": 10 ** rng.uniform(-1.5, 0.5, 40)}
    rest = {"context_length": 2.0, "ridge": 0.1, "spins": "ternary", "spacing": 1.5}
    together = solve(**grid, **rest)
    for number in (0, 17, 39):
        alone = solve(**{name: values[number] for name, values in grid.items()}, **rest)
        for name in ("m", "q", "chi"):
            one, other = float(getattr(alone, name)), float(getattr(together, name)[number])
            assert abs(one / other - 1) <= 2 * (float(alone.error_bound) + float(together.error_bound[number])), name


def test_without_answer_the_free_energy_has_no_cancellation():
    """Wide levels at low temperature: all spins rest at 0, and the leverage of prompts is 1e-88."""
    cold = {"task_diversity": 1.0, "context_length": 7.0, "ridge": 0.03, "spins": "ternary", "spacing": 7.3}
    found = solve(**cold, temperature=[0.0, 0.04])
    a = 1 + 1 / 7
    # Squared error of the diagonal alone: m = 1/(a + lam), energy (1 - m)/2.
    np.testing.assert_allclose(found.m, 1 / (a + 0.03), rtol=1e-9)
    np.testing.assert_allclose(found.free_energy, (1 - 1 / (a + 0.03)) / 2, rtol=1e-9)
