r"""best_stopping_time(...): when to stop gradient flow so that the error on a new task is least, located.

With the notation of `numerics.learning_curve`,

    d e_icl/dt = 2 < x e (D(x) f - e) > - 2 a_test q0 < (a x + lam) e^2 >,
    D(x) = (a_test - a) x + a_test a sigma2/tau - lam.

Where D <= 0 on the whole bulk, later is always better. At a_test = a that is lam >= a^2 sigma2/tau, the best ridge;
below it, and without initial weights, every direction improves until its own time and then gets worse, so that the
best time is finite. Source: this project, notes/learning_curves.md.
"""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.fixed_point import bracketed_root
from iclglass.numerics.keywords import by_name, takes
from iclglass.numerics.learning_curve import flow_parameters, in_blocks, learning_curve
from iclglass.numerics.learning_curve_averages import Modes, lower_edge
from iclglass.numerics.parameters import FLOW, Flow
from iclglass.numerics.solution import Arrays
from iclglass.numerics.status import Status

__all__ = ["StoppingTime", "best_stopping_time"]

Array = NDArray[np.float64]

# The search for sign changes: times from this fraction of the fastest mode's to this multiple of the slowest one's.
_EARLIEST, _LATEST = 1e-3, 1e4
_SCAN = 256
# The slowest mode that matters, relative to the fastest: at tau = 1 without ridge the bulk reaches 0.
_SLOWEST = 1e-16


@dataclass(frozen=True, eq=False)
class StoppingTime(Arrays):
    """The time of least e_icl at every point of a grid; arrays of the broadcast shape of the parameters.

    Attributes
    ----------
    time
        t* in units of D; infinite when no finite time is better than all later ones.
    e_icl
        the error there.
    gain
        e_icl(infinity) - e_icl(t*) >= 0; infinite where the error of the trained weights diverges.
    status
        codes of `numerics.status.Status`.
    """

    time: Array
    e_icl: Array
    gain: Array
    status: NDArray[np.int8]


@by_name
@takes(*FLOW)
def best_stopping_time(*, initial_overlap: ArrayLike = 0.0, **given: Unpack[Flow]) -> StoppingTime:
    """Locate the global minimum of e_icl over all times; arrays broadcast, DataArrays by name.

    All sign changes of the derivative are bracketed on a logarithmic scan of 256 times, each is located to the last
    bits of its bracket, and the least of these minima and of e_icl(infinity) is taken. The sign at late times is that
    of the slowest mode, not of a derivative that has underflowed.

    Source: this project, notes/learning_curves.md.

    Parameters
    ----------
    initial_overlap : array_like
        As in `numerics.learning_curve.learning_curve`.
    task_diversity, context_length, label_noise, ridge, test_context_length
        As in `numerics.parameters.Parameters`.

    Returns
    -------
    StoppingTime
        The interpolation threshold without ridge (tau = 1, lam = 0) has a finite best time.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy.

    Examples
    --------
    >>> best = best_stopping_time(task_diversity=1, context_length=2, ridge=[0, 1e3])
    >>> best.time.round(6).tolist(), best.e_icl.round(6).tolist()
    ([0.845723, inf], [0.672951, 0.99801])
    """
    parameters = flow_parameters(given, {"initial_overlap": initial_overlap})
    shape = parameters["task_diversity"].shape
    flat = {name: array.reshape(-1) for name, array in parameters.items()}

    times, starts = _scan(flat)
    repeated = {name: np.repeat(array, _SCAN) for name, array in flat.items()}
    slopes = in_blocks(_slope, {**repeated, "time": times.ravel()})["slope"].reshape(times.shape)
    point, index = np.nonzero((slopes[:, :-1] < 0) & (slopes[:, 1:] >= 0))
    names = tuple(flat)

    def slope(log_time: Array, *values: Array) -> Array:
        # The root finder drops brackets as they converge; what is left may come with further axes.
        broad = np.broadcast_arrays(log_time, *values)
        arguments = dict(zip(names, (array.ravel() for array in broad[1:]), strict=True))
        result = in_blocks(_slope, {**arguments, "time": np.exp(broad[0].ravel())})["slope"]
        return result.reshape(broad[0].shape)

    roots, found = bracketed_root(
        slope,
        np.log(times[point, index]),
        np.log(times[point, index + 1]),
        arguments=[array[point] for array in flat.values()],
    )
    finite = learning_curve(time=np.exp(np.where(found, roots, 0.0)), **{k: v[point] for k, v in flat.items()})
    final = learning_curve(time=np.inf, **flat)

    best_time = np.full(starts.shape, np.inf)
    # Where the error still rises at late times, the end is no minimum, even if rounding cannot tell it from one.
    falls = slopes[:, -1] < 0
    best = np.where(falls, final.e_icl, np.inf)
    status = np.full(starts.shape, Status.CONVERGED, dtype=np.int8)
    status[(falls & ~final.converged) | ~np.all(np.isfinite(slopes), axis=1)] = Status.NOT_FINITE
    for which, time, error, good in zip(point, np.exp(roots), finite.e_icl, finite.converged & found, strict=True):
        if not good:
            status[which] = Status.NOT_CONVERGED
        elif error < best[which]:
            best[which], best_time[which] = error, time
    status[~np.isfinite(best) & (status == Status.CONVERGED)] = Status.NOT_CONVERGED
    failed = status != Status.CONVERGED
    gain = np.where(final.status == Status.DIVERGES, np.inf, np.maximum(final.e_icl - best, 0.0))
    for array in (best_time, best, gain):
        array[failed] = np.nan
    arrays: dict[str, Any] = {"time": best_time, "e_icl": best, "gain": gain, "status": status}
    return StoppingTime(**{name: array.reshape(shape)[()] for name, array in arrays.items()})


def _scan(flat: dict[str, Array]) -> tuple[Array, Array]:
    """Times (points, scan) to look for sign changes at, and the first of each point."""
    tau, lam = flat["task_diversity"], flat["ridge"]
    with np.errstate(all="ignore"):
        a = 1 + (1 + flat["label_noise"]) / flat["context_length"]
        slowest = a * lower_edge(tau) + lam
        fastest = slowest + 4 * a / np.sqrt(tau)
        # The initial weights in flat directions decay at the rate of the ridge alone.
        atom = (tau < 1) & (lam > 0) & (flat["initial_overlap"] > 0)
        slowest = np.maximum(np.where(atom, lam, slowest), _SLOWEST * fastest)
        starts = np.log(_EARLIEST / fastest)
        ends = np.log(_LATEST / slowest)
        times: Array = np.exp(starts[:, None] + (ends - starts)[:, None] * np.linspace(0, 1, _SCAN))
    return times, starts


def _slope(**flat: Array) -> dict[str, NDArray[Any]]:
    """d e_icl/dt times exp(k t), k the rate of the slowest contribution: the sign survives at any time."""
    modes = Modes(**flat)
    tau, lam, rho, q0, t, a = modes.tau, modes.lam, modes.rho, modes.q0, modes.time, modes.a
    a_test = 1 + modes.b_test

    def average(integrand: Array) -> Array:
        return modes.average(integrand)[:, :1]

    lowest = a * modes.low + lam
    atom = np.where((q0 > 0) & (lam > 0), np.maximum(1 - tau, 0.0), 0.0)
    slow = np.where(atom > 0, np.minimum(lowest, 2 * lam), lowest)
    scaled = np.exp(-(a * modes.above + (lowest - slow)) * t)
    excess = (a_test - a) * modes.x + a_test * (a * (1 + rho) - 1) / tau - lam
    slope = 2 * average(scaled * (excess * modes.gain - modes.decay))
    if np.any(q0 > 0):
        slope = slope - 2 * a_test * q0 * average(modes.rate / modes.x * scaled * modes.decay)
        slope = slope - 2 * a_test * q0 * atom * lam * np.exp(-np.maximum(2 * lam - slow, 0.0) * t)
    return {"slope": slope[:, 0]}
