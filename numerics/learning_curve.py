r"""learning_curve(...): gradient flow on the energy, averaged over data sets, over grids of parameters and times.

The flow dW/ds = -dH/dW from W(0) = W0, in time t = s/D. Along an eigenvector of the Hessian with eigenvalue
(a x + lam)/D it is exponential, and x follows the Marchenko-Pastur law of ratio 1/tau. With e = exp(-(a x + lam) t),
f = (1 - e)/(a x + lam), r = 1 - a x f and sigma2 = 1 + rho - 1/a:

    m(t)       = < x f >
    q(t)       = < x^2 f^2 > + (sigma2/tau) < a x f^2 > + q0 < e^2 >
    e_icl(t)   = 1 + rho - 2 m + a_test q
    e_train(t) = sigma2 (1 - < 1 - r^2 >/tau) + < x r^2 >/a + q0 < a x e^2 >

The errors are evaluated as sums of positive terms. The averages are those of `numerics.learning_curve_averages`.
Source: this project, notes/learning_curves.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import is_data_array
from iclglass.numerics.errors import ParameterTypeError
from iclglass.numerics.keywords import by_name, takes
from iclglass.numerics.learning_curve_averages import DEEPEST, Modes
from iclglass.numerics.memory import chunks
from iclglass.numerics.parameters import FLOW, Flow, Parameters, broadcast_arrays, real
from iclglass.numerics.solution import Arrays
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LearningCurve", "flow_parameters", "learning_curve"]

Array = NDArray[np.float64]

# Points a block: with some 400 nodes each, one array of a block fits the second-level cache.
_BLOCK = 128
_TOLERANCE = 1e-10
# Rounding of a sum of positive terms, each a few operations.
_ROUNDING = 16 * float(np.finfo(np.float64).eps)
# Below this a value counts as 0: e_train of an interpolator falls exponentially until it underflows.
_TINY = 1e-250


@dataclass(frozen=True, eq=False)
class LearningCurve(Arrays):
    """Gradient flow at every point of a grid.

    All arrays have the broadcast shape of the parameters and the time. A point that failed is NaN everywhere and its
    status says why.

    Attributes
    ----------
    time
        t, in units of D: W is the flow of H after time D t.
    m, q
        overlap with the ideal weights Tr W/D, and self-overlap Tr W W^T/D.
    e_icl, e_idg, e_train
        squared error on a new task, on a new prompt of the pretraining law, on the prompts trained on.
    energy
        (e_train + lam q)/2, the energy H that the flow lowers.
    error_estimate
        estimate of the largest relative error of these by quadrature. From the rule with twice the step: the rule
        converges geometrically, so halving the step squares the error. It does not contain the rounding of exp(-z), of
        relative size 1e-16 z, in the e_train of an interpolator.
    status
        codes of `numerics.status.Status`.
    """

    time: Array
    m: Array
    q: Array
    e_icl: Array
    e_idg: Array
    e_train: Array
    energy: Array
    error_estimate: Array
    status: NDArray[np.int8]

    def to_dataset(self) -> "xr.Dataset":
        """The DataArrays of the curve along the dimensions of its parameters.

        Raises
        ------
        ParameterTypeError
            The parameters were plain arrays, which a curve does not know.
        """
        import xarray as xr

        if not is_data_array(self.status):
            raise ParameterTypeError("a LearningCurve of arrays does not know its parameters: give them as DataArrays")
        return xr.Dataset({name: array for name, array in self.to_dict().items() if name not in array.dims})


@by_name
@takes(*FLOW)
def learning_curve(*, time: ArrayLike, initial_overlap: ArrayLike = 0.0, **given: Unpack[Flow]) -> LearningCurve:
    r"""Overlaps, errors and energy of gradient flow at time t; arrays broadcast, DataArrays by name.

    Equation: the module's docstring. Infinite time is exact: with ridge it is the saddle point of
    `numerics.saddle_point.solve` at temperature 0, whatever W0; without ridge the interpolator or least-squares
    solution nearest to W0, which for ``initial_overlap`` = 0 is the ridgeless limit.

    Source: this project, notes/learning_curves.md (gradient flow on the energy of SG, arXiv:2408.02288; large D with
    Gaussian equivalence, every prompt with its own task).

    Parameters
    ----------
    time : array_like
        t = s/D >= 0, s the time of dW/ds = -dH/dW; infinity allowed.
    initial_overlap : array_like
        q0 = |W0|^2/D >= 0 of initial weights that are independent of the data and have no overlap Tr W0/D with the
        ideal weights. Gaussian entries of variance q0/D are such.
    task_diversity, context_length, label_noise, ridge, test_context_length
        As in `numerics.parameters.Parameters`.

    Returns
    -------
    LearningCurve
        Arrays of the broadcast shape. tau = 1, lam = 0, t = inf diverges: NaN with its status.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy.

    Examples
    --------
    >>> curve = learning_curve(time=[0, 1, np.inf], task_diversity=3, context_length=5, ridge=1)
    >>> curve.e_icl.round(6).tolist()
    [1.0, 0.459002, 0.409091]
    >>> curve.energy[0] > curve.energy[1] > curve.energy[2]
    np.True_
    """
    parameters = flow_parameters(given, {"time": time, "initial_overlap": initial_overlap})
    shape = parameters["time"].shape
    values = in_blocks(_curve, {name: array.reshape(-1) for name, array in parameters.items()})
    arrays: dict[str, Any] = {name: array.reshape(shape)[()] for name, array in values.items()}
    return LearningCurve(time=parameters["time"].copy()[()], **arrays)


def flow_parameters(theory: Mapping[str, Any], flow: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """The parameters of the theory, `FLOW`, and of the flow, checked and broadcast together.

    >>> flow_parameters({"task_diversity": 1, "context_length": 1}, {"time": -1})
    Traceback (most recent call last):
    iclglass.numerics.errors.ParameterError: time = -1.0 must be >= 0, or infinite: the flow starts at time 0
    """
    scaled = Parameters.of(theory).scaled
    return broadcast_arrays(
        {name: scaled[name] for name in FLOW} | {name: real(name, value) for name, value in flow.items()}
    )


def in_blocks(
    function: Callable[..., dict[str, NDArray[Any]]], parameters: dict[str, Array]
) -> dict[str, NDArray[Any]]:
    """Apply an elementwise function to flat parameters, a few points at a time, so that a block fits the cache."""
    size = parameters["time"].size
    with np.errstate(all="ignore"):
        parts = [
            function(**{name: array[part] for name, array in parameters.items()})
            for part in chunks(max(size, 1), _BLOCK)
        ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _curve(**flat: Array) -> dict[str, NDArray[Any]]:
    tau, lam, time = flat["task_diversity"], flat["ridge"], flat["time"]
    modes = Modes(**flat)
    both = _errors(modes)
    values = {name: pair[:, 0] for name, pair in both.items()}
    differences = [(pair[:, 1] - pair[:, 0]) / np.maximum(pair[:, 0], _TINY) for pair in both.values()]
    values["error_estimate"] = np.max(np.square(differences), axis=0, initial=0.0) + _ROUNDING
    status = np.full(tau.shape, Status.CONVERGED, dtype=np.int8)
    finite = np.all([np.isfinite(array) for array in values.values()], axis=0)
    status[~(values["error_estimate"] <= _TOLERANCE) | ~(modes.deepest[:, 0] >= DEEPEST)] = Status.NOT_CONVERGED
    status[~finite] = Status.NOT_FINITE
    status[(tau == 1) & (lam == 0) & np.isinf(time)] = Status.DIVERGES
    failed = status != Status.CONVERGED
    for array in values.values():
        array[failed] = np.nan
    return {**values, "status": status}


def _errors(modes: Modes) -> dict[str, Array]:
    """All quantities, shape (points, 2): by the rule, and by the rule with twice the step."""
    average, x, rate, decay, gain = modes.average, modes.x, modes.rate, modes.decay, modes.gain
    tau, rho, lam, q0, time, a, b = modes.tau, modes.rho, modes.lam, modes.q0, modes.time, modes.a, modes.b
    # 1 - a x gain, as a sum of positive terms.
    miss = (lam + a * x * decay) / rate
    sigma2 = rho + b / a
    atom = np.maximum(1 - tau, 0.0)

    gain2, miss2 = gain * gain, miss * miss
    m = average(gain)
    spread = (a * sigma2 / tau) * average(gain2)
    miss_bulk, miss2_bulk = average(miss / x), average(miss2 / x)
    e_train = sigma2 * (np.maximum((tau - 1) / tau, 0.0) + miss2_bulk / tau) + average(miss2) / a
    if np.any(q0 > 0):
        decay2 = decay * decay
        # Flat directions keep their initial weights: no decay without ridge, even at infinite time.
        kept = atom * np.exp(-2 * np.where(lam == 0, 0.0, lam * time))
        spread = spread + q0 * (average(decay2 / x) + kept)
        e_train = e_train + q0 * a * average(decay2)
    q = average(x * gain2) + spread
    # < (1 - x gain)^2 >, where 1 - x gain = (b + miss)/a and miss = 1 on the atom.
    bias = atom + (b * b * np.minimum(tau, 1.0) + 2 * b * miss_bulk + miss2_bulk) / (a * a)
    e_idg = rho + bias + spread + b * q
    e_icl = rho + bias + spread + modes.b_test * q
    energy = (e_train + lam * q) / 2
    return {"m": m, "q": q, "e_icl": e_icl, "e_idg": e_idg, "e_train": e_train, "energy": energy}
