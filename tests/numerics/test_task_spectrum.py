"""Task spectra: constructors, and refusals that name the value."""

import math

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretraining": []}, "the task spectrum is empty"),
        ({"pretraining": [1.0, -0.5]}, r"pretraining eigenvalue -0\.5 must be finite and >= 0"),
        ({"pretraining": [1.0, math.nan]}, "pretraining eigenvalue nan must be finite"),
        ({"pretraining": [math.inf, 1.0]}, "pretraining eigenvalue inf must be finite"),
        ({"pretraining": [1.0], "test": [-1.0]}, r"test eigenvalue -1\.0 must be finite and >= 0"),
        ({"pretraining": [1.0], "test": [math.nan]}, "test eigenvalue nan"),
        ({"pretraining": [0.0, 0.0]}, "the pretraining spectrum is zero"),
        ({"pretraining": [1.0, 2.0], "weights": [0.5, 0.6]}, r"sum to 1, not to 1\.1"),
        ({"pretraining": [1.0, 2.0], "weights": [1.5, -0.5]}, "weights must be > 0"),
        ({"pretraining": [1.0, 2.0], "weights": [1.0, 0.0]}, "weights must be > 0"),
        ({"pretraining": [1.0, 2.0], "weights": [math.nan, 0.5]}, "weights must be > 0"),
        ({"pretraining": [1.0, 2.0], "weights": [1.0]}, "of one length"),
        ({"pretraining": [1.0, 2.0], "test": [1.0]}, "of one length"),
        ({"pretraining": [[1.0, 2.0]]}, "one-dimensional"),
    ],
)
def test_bad_spectra_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        TaskSpectrum.from_eigenvalues(**arguments)


@pytest.mark.parametrize("values", ["ab", [None], [1j], [True], object()])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ParameterTypeError, match="pretraining must be a real number"):
        TaskSpectrum.from_eigenvalues(values)


def test_bad_shapes_of_families_are_refused():
    for build, given, message in (
        (TaskSpectrum.power_law, {"exponent": -1.0}, "exponent must be finite and >= 0"),
        (TaskSpectrum.power_law, {"exponent": 1.0, "size": 0}, "size must be at least 1"),
        (TaskSpectrum.power_law, {"exponent": 1.0, "size": 3, "test": [1.0, 1.0]}, "of one length"),
        (TaskSpectrum.spiked, {"strength": -1.0, "fraction": 0.5}, "strength must be finite and >= 0"),
        (TaskSpectrum.spiked, {"strength": 2.0, "fraction": 0.0}, "fraction must be finite and > 0 and < 1"),
        (TaskSpectrum.spiked, {"strength": 2.0, "fraction": 1.0}, "fraction must be finite and > 0 and < 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            build(**given)


def test_families():
    assert (ISOTROPIC.strength, ISOTROPIC.test_strength) == (1, 1)
    spiked = TaskSpectrum.spiked(strength=5.0, fraction=0.2)
    assert spiked.pretraining[0] == pytest.approx(5 * spiked.pretraining[1])
    assert spiked.strength == pytest.approx(1, rel=1e-14)
    power = TaskSpectrum.power_law(0.7, size=30)
    np.testing.assert_allclose(power.pretraining[9] / power.pretraining[0], 19.0**-0.7, rtol=1e-14)
    assert np.all(TaskSpectrum.power_law(0.0, size=4).pretraining == 1)
    given = TaskSpectrum.from_eigenvalues([1, 3], test=[2, 0], weights=[0.25, 0.75])
    assert (given.strength, given.test_strength) == (2.5, 0.5)
