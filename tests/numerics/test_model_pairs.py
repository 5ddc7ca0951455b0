"""T8, pair by pair: each shipped loss and labels with each shipped spins and penalty, T -> 0 and T > 0, 20 points.

All pairs are asked at the same random points, so that each side's brute force is done once; each pair answers with its
own System, at all points in one call.
"""

from functools import cache
from itertools import cycle, product

import numpy as np
import pytest
import sympy as sp

from iclglass.replica.averages import Average
from tests.numerics.model_reference import Prompts, Spins, coupled
from tests.numerics.test_models_brute_force import SHIPPED_LOSSES, SHIPPED_SPINS, TEMPERATURES, system_of
from tests.tolerances import BRUTE_FORCE, STATIONARY

COUNT = 20
RANGES = {
    "tau": (0.3, 3),
    "alpha": (0.5, 5),
    "rho": (0, 0.5),
    "chi": (0.2, 3),
    "huber_threshold": (0.3, 2),
    "K": (0.3, 2),
    "M": (0.3, 2),
    "Q": (0.3, 2),
    "lam": (0.1, 1),
    "l1": (0.1, 1),
    "spacing": (0.5, 1.5),
}
OFFSETS, SLOPES = np.array([-2, -1, 1, 2]), np.array([1, -8, 8, -1]) / 12
"""Differences of fourth order."""
STEP = 5e-3
"""Relative: some functionals go as the square root of a field, which may be small."""


@cache
def points(warm):
    """Arrays over the points, by the names of the package."""
    rng = np.random.default_rng(11)
    found = {name: rng.uniform(low, high, COUNT) for name, (low, high) in RANGES.items()}
    found["m"] = rng.uniform(0.1, 0.8, COUNT)
    found["q"] = found["m"] ** 2 + rng.uniform(0.05, 1, COUNT)
    return found | {"T": warm * rng.uniform(0.1, 1, COUNT), "alpha_test": found["alpha"]}


@cache
def prompts_by_force(loss, labels, warm):
    """Prompts, their fields and free energy at every point."""
    found = []
    for number in range(COUNT):
        at = {name: array[number] for name, array in points(warm).items()}
        names = ("tau", "alpha", "rho", "T", "m", "q", "chi")
        prompts = Prompts(loss, labels, *(at[name] for name in names), threshold=at["huber_threshold"])
        averages = prompts.averages()
        prompts.averages = lambda averages=averages: averages
        found.append((prompts, prompts.fields(), prompts.free()))
    return found


@cache
def spins_by_force(spins_name, penalty, warm):
    """Spins, their answers and free energy at every point."""
    found = []
    for number in range(COUNT):
        at = {name: array[number] for name, array in points(warm).items()}
        strengths = {"lam": at["lam"] * (penalty != "lasso"), "l1": at["l1"] * (penalty != "ridge")}
        spins = Spins(spins_name, at["T"], at["K"], at["M"], at["Q"], **strengths, spacing=at["spacing"])
        averages = spins.averages()
        spins.averages = lambda averages=averages: averages
        found.append((spins, spins.answers(), spins.free()))
    return found


def functional_of(system, point, laws=("prompts", "spins")):
    """The pair's own functional -T phi; without averages over other laws."""
    expression = system.system.free_energy
    left_out = {average: sp.S.Zero for average in expression.atoms(Average) if average.law not in laws}
    nodes = {
        "prompts": system.prompt_nodes(point) if "prompts" in laws else None,
        "spins": system.spin_nodes(point) if "spins" in laws else None,
    }
    return system.value(expression.xreplace(left_out), {**point, **system.diagonal_spin(point)}, **nodes)


def steepest(system, point, names, law):
    """Largest slope of the functional by the named quantities, on which averages over this law alone depend."""
    moved = {name: np.repeat(array, len(names) * OFFSETS.size) for name, array in point.items()}
    steps = {name: STEP * np.abs(point[name]) for name in names}
    for number, name in enumerate(names):
        table = moved[name].reshape(COUNT, len(names), OFFSETS.size)
        table[:, number] += steps[name][:, None] * OFFSETS
    values = functional_of(system, moved, (law,)).reshape(COUNT, len(names), OFFSETS.size) @ SLOPES
    return max(np.max(np.abs(values[:, number] / steps[name])) for number, name in enumerate(names))


def agree(found, wanted, what):
    """To 1e-9 of the larger of 1 and the number."""
    for name, numbers in zip(found, np.transpose(wanted), strict=True):
        error = np.abs(found[name] - numbers) / np.maximum(1, np.abs(numbers))
        assert error.max() <= BRUTE_FORCE, (*what, name, error.max())


def pairs(warm):
    """All of them; where a temperature makes differences dear, as many as have every loss and every spins in them."""
    if not warm:
        return {*product(SHIPPED_LOSSES, SHIPPED_SPINS)}
    return {*zip(cycle(SHIPPED_LOSSES), SHIPPED_SPINS, strict=False)}


@pytest.mark.slow
@pytest.mark.parametrize("warm", TEMPERATURES)
def test_every_pair_is_brute_force_at_twenty_points(warm):
    """Fields, answers and the functional against quadrature, to 1e-9."""
    point = points(warm)
    for loss, spins in product(SHIPPED_LOSSES, SHIPPED_SPINS):
        system, what = system_of(*loss, *spins, warm > 0), (*loss, *spins, warm)
        prompts, answers = prompts_by_force(*loss, warm), spins_by_force(*spins, warm)
        agree(system.fields(point), [fields for _, fields, _ in prompts], what)
        agree(system.answers(point), [numbers for _, numbers, _ in answers], what)
        if (loss, spins) not in pairs(warm):
            continue
        wanted = [coupled(p, s) + free_p + free_s
                  for (p, _, free_p), (s, _, free_s) in zip(prompts, answers, strict=True)]  # fmt: skip
        agree({"functional": functional_of(system, point)}, np.transpose([wanted]), what)


@pytest.mark.slow
@pytest.mark.parametrize("warm", TEMPERATURES)
def test_the_step_of_a_pair_is_where_its_functional_is_stationary(warm):
    """By differences at twenty points, to 1e-7."""
    point = points(warm)
    for loss, spins in sorted(pairs(warm)):
        system, what = system_of(*loss, *spins, warm > 0), (*loss, *spins, warm)
        step = system.step(point)
        at_fields = point | {name: step[name] for name in ("K", "M", "Q")}
        assert steepest(system, at_fields, ("m", "q", "chi"), "prompts") < STATIONARY, what
        at_answers = at_fields | {name: step[name] for name in ("m", "q", "chi")}
        assert steepest(system, at_answers, ("K", "M", "Q"), "spins") < STATIONARY, what
