"""One entry to every solver: it passes on what it is told, refuses the rest, and the solvers agree."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.instance.solve import METHODS, solve_instance
from iclglass.numerics.instance.spin_by_spin import published, tap
from iclglass.numerics.status import Status
from tests.numerics.instance.drawn import draw

MEANS = 1e-10  # goal of issue: message passing and linear algebra agree on the means
POINT = {"ridge0": 0.1, "beta": 2.0}
FUNCTIONS = {"gamp": gamp, "exact": exact, "tap": tap, "published": published}


@pytest.fixture(scope="module")
def data():
    return draw(5, 2000)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gamp", {}),
        ("gamp", {"damping": 0.2, "tolerance": 1e-8}),
        ("exact", {"probes": 4}),
        ("tap", {"max_iterations": 500}),
        ("published", {}),
    ],
)
def test_every_method_is_its_own_function(data, method, options):
    def given():  # a generator is used up
        return options | ({"rng": np.random.default_rng(3)} if method == "published" else {})

    one, two = solve_instance(data, **POINT, method=method, **given()), FUNCTIONS[method](data, **POINT, **given())
    assert (one.method, one.iterations, one.status) == (two.method, two.iterations, two.status)
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.variance, two.variance)


def test_every_method_keeps_the_common_form_and_message_passing_has_the_exact_means(data):
    solutions = {method: solve_instance(data, **POINT, method=method) for method in METHODS}
    for method, found in solutions.items():
        assert found.method == method
        assert isinstance(found.status, Status)
        assert found.mean.shape == found.variance.shape == found.variance_error.shape == (6, 6)
        assert not np.any(found.mean[:, 5])
        np.testing.assert_allclose(found.variance[:, 5], 1 / 0.2, 1e-12)
        assert found.history.shape == (found.iterations,)
        assert found.reason
    np.testing.assert_allclose(solutions["gamp"].mean, solutions["exact"].mean, rtol=0, atol=MEANS)


# What every solver refuses by the same words, and what `solve_instance` does not pass on.
BAD = [
    ({"beta": 0.0}, ParameterError, "beta must be finite and > 0, got 0.0"),
    ({"beta": np.inf}, ParameterError, "beta must be finite"),
    ({"beta": 1e31}, ParameterError, r"beta must be in 1e-30 .. 1e\+30"),
    ({"ridge0": -0.1}, ParameterError, "ridge0 must be finite and >= 0"),
    ({"ridge0": 1e31}, ParameterError, r"ridge0 must be finite and >= 0 and < 1e\+30"),
    ({"ridge0": np.nan}, ParameterError, "ridge0 must be finite"),
    ({"ridge0": "1"}, ParameterTypeError, "ridge0 must be a real number"),
    ({"tolerance": 0}, ParameterError, "tolerance must be finite and > 0"),
    ({"max_iterations": 0}, ParameterError, "max_iterations must be at least 1"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_values_out_of_range_are_refused(data, method, change, error, message):
    for solver in (FUNCTIONS[method], lambda *a, **b: solve_instance(*a, method=method, **b)):
        with pytest.raises(error, match=message):
            solver(data, **(POINT | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "amp"}, ParameterError, "method must be one of gamp, exact, tap, published"),
        ({"probes": 4}, ParameterError, "method 'gamp' takes no probes; its options are tolerance, max_iter"),
        ({"method": "exact", "damping": 0.5}, ParameterError, "method 'exact' takes no damping"),
        ({"method": "tap", "probes": 4, "rng": 3}, ParameterError, "method 'tap' takes no probes or rng"),
        ({"method": "published", "rng": 3}, ParameterTypeError, "rng must be a numpy.random.Generator, got int"),
        ({"damping": 1.0}, ParameterError, "damping must be finite and >= 0 and < 1"),
        ({"instance": (1, 2, 3)}, ParameterTypeError, "instance must be an Instance, got tuple; build one with"),
    ],
)
def test_bad_options_are_refused(data, change, error, message):
    with pytest.raises(error, match=message):
        solve_instance(**({"instance": data} | POINT | change))
