"""One small data set, its exact law, and the samplers' parameters."""

import numpy as np
import pytest

from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.law import boltzmann_law
from iclglass.validation.samplers.target import make_target

MEASURE = {"ridge0": 0.05, "beta": 20.0}


@pytest.fixture(scope="session")
def data():
    """n = 30 spins, 60 prompts."""
    return draw_prompts(dimension=5, context=10, prompts=60, label_noise=0.1, rng=np.random.default_rng(5))


@pytest.fixture(scope="session")
def measure():
    return dict(MEASURE)


@pytest.fixture(scope="session")
def law(data):
    return boltzmann_law(data, **MEASURE)


@pytest.fixture(scope="session")
def target(data):
    return make_target(data, **MEASURE)


@pytest.fixture
def rng():
    return np.random.default_rng(17)
