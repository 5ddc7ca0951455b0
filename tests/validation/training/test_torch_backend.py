"""PyTorch's automatic differentiation and optimisers against ours: the same start, the same batches."""

import sys

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.training import train

# The goal is 1e-6; both compute in double, so only rounding is between them, amplified by 300 steps.
LOSSES = 1e-6
ROUNDING = 1e-10


@pytest.fixture
def torch():
    """PyTorch on one thread: tensors this small cost more to share than to compute."""
    module = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    return draw_prompts(dimension=5, context=10, prompts=60, label_noise=0.1, rng=np.random.default_rng(1))


def trained(data, backend, **options):
    return train(data, steps=300, ridge0=0.02, record=range(0, 301, 20), backend=backend, **options)


@pytest.mark.parametrize(
    ("parametrisation", "optimiser", "rate", "batch"),
    [
        ("merged", "gd", 0.1, None),
        ("separate", "adam", 0.01, 16),
        ("merged", "sgd", 0.03, 16),
        ("merged", "adam", 0.01, None),
        ("separate", "gd", 0.1, None),
        ("separate", "sgd", 0.03, 16),
    ],
)
@pytest.mark.slow  # importing PyTorch and its optimisers takes seconds
@pytest.mark.usefixtures("torch")
def test_losses_are_the_same(data, parametrisation, optimiser, rate, batch):
    options = {"parametrisation": parametrisation, "optimiser": optimiser, "learning_rate": rate, "batch": batch}
    ours = trained(data, "numpy", rng=np.random.default_rng(4), **options)
    theirs = trained(data, "torch", rng=np.random.default_rng(4), **options)
    np.testing.assert_allclose(theirs.energy, ours.energy, rtol=LOSSES, atol=0)
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=0, atol=ROUNDING)
    assert ours.energy[-1] < 0.9 * ours.energy[0]
    # Another order of batches, or another start, is not the same to 1e-6.
    other = trained(data, "numpy", rng=np.random.default_rng(5), **options)
    assert np.max(np.abs(other.energy / ours.energy - 1)) > 1e3 * LOSSES


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
def test_a_run_resumes_in_torch(data, tmp_path):
    options = {"optimiser": "adam", "learning_rate": 0.01}
    whole = trained(data, "torch", rng=np.random.default_rng(4), **options)

    def interrupt(step, weights):
        if step == 100:
            raise KeyboardInterrupt

    kept = {"checkpoint": tmp_path / "run.npz", **options}
    with pytest.raises(KeyboardInterrupt):
        trained(data, "torch", rng=np.random.default_rng(4), callback=interrupt, **kept)
    resumed = trained(data, "torch", rng=np.random.default_rng(4), **kept)
    np.testing.assert_array_equal(resumed.weights, whole.weights)


def test_without_torch_the_remedy_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ParameterError, match="pip install"):
        trained(data, "torch", learning_rate=0.1, rng=np.random.default_rng(1))
