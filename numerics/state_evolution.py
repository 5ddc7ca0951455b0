r"""state_evolution(...): what message passing on the prompts will do, step by step, before any data are drawn.

Messages on the P prompts (generalised approximate message passing, `numerics.instance.gamp` with damping 0) start at
W = 0. Averaged over data sets their iterates obey a recursion in a few numbers. With the leverage c_t = a chi_t/tau,
om_t = 1/(1 + c_t) and e_t = 1 + rho - 2 m_t + a q_t,

    1/chi_{t+1} = lam + a om_t,     m_{t+1} = chi_{t+1} om_t,     q_{t+1} = m_{t+1}^2 [1 + (a/tau) e_t].

A fixed point of it solves the saddle-point equations, line by line. Near it every deviation falls by the factor
rate^2 = a^2 m^2/tau = 1 - replicon a step, and W_t itself by rate.

At finite dimension the leverage of a prompt depends on its feature norms, and the last row of spins counts; both are
averaged over the law of one prompt as in `numerics.finite_size`, whose solution is then the fixed point. The code has
this form only: D -> infinity is the law with one node.

Source: this project, notes/state_evolution.md.
"""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.arguments import MOST, check_count
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.gamma_quadrature import prompt_nodes
from iclglass.numerics.keywords import by_name, takes
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import check_memory
from iclglass.numerics.parameters import FLOW, Given, Parameters, broadcast_arrays, real
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.sizes import divisor, from_unscaled, sizes_at
from iclglass.numerics.solution import Arrays

__all__ = ["StateEvolution", "state_evolution"]

Array = NDArray[np.float64]

_KEPT = 9
"""Arrays of one number a step and point: the quantities, and one of passing use."""


@dataclass(frozen=True, eq=False)
class StateEvolution(Arrays):
    """Predicted iterates at every point of a grid.

    All arrays but ``rate`` have the shape (steps + 1, ...), with the broadcast shape of the parameters after the axis
    of steps; entry 0 is the start, W = 0.

    Attributes
    ----------
    m, q
        overlap with the ideal weights Tr W/D, and self-overlap Tr W W^T/D, of the D x D block.
    chi
        beta/D times the variance of a spin of the block.
    e_icl, e_idg, e_train
        squared error of W_t on a new task, on a new prompt of the pretraining law, on the prompts trained on.
    change
        |W_t - W_{t-1}|^2/D of the block, 0 at the start.
    last_row
        squared norm of the last row of W_t, of order 1/D: 0 at D -> infinity.
    rate
        factor by which |W_t - W_{t-1}| falls per step in the end, sqrt(1 - replicon); shape of the parameters. NaN
        without a fixed point (no ridge, and no more prompts than spins): W_t then grows.
    """

    m: Array
    q: Array
    chi: Array
    e_icl: Array
    e_idg: Array
    e_train: Array
    change: Array
    last_row: Array
    rate: Array


@dataclass(frozen=True, eq=False)
class _Law:
    """One prompt's scalars on quadrature nodes, scaled so that they are of order one as D -> infinity.

    Two groups of spins, the block and the last row; one, the block, in a layer without last row.

    weight: (nodes,) or (1,), sum 1.    inverse_fraction: (groups, 1), D^2 over the number of spins, 1 and D.
    feature: (groups, points or 1, nodes), squared feature norms of the block and of the last row, over D.
    signal, label: (points or 1, nodes), label times ideal prediction, and squared label.
    """

    weight: Array
    inverse_fraction: Array
    feature: Array
    signal: Array
    label: Array


@by_name
@takes(*FLOW, "dimension", "norm", "last_feature", "last_row")
def state_evolution(*, steps: int = 50, initial_chi: ArrayLike | None = None, **given: Unpack[Given]) -> StateEvolution:
    r"""Predict the iterates of undamped message passing on the prompts; arrays broadcast, DataArrays by name.

    Equation: the module's docstring. Source: this project, notes/state_evolution.md. Every prompt has its own task.

    Parameters
    ----------
    steps : int
        Number of steps, >= 0.
    initial_chi : array_like, optional
        chi_0 >= 0, one for all spins: 1/lam is their prior. Default: that of `gamp`, the variance of a spin when all
        others are known, 1/(lam + a) for the block.
    task_diversity, context_length, label_noise, ridge, test_context_length, dimension, norm, last_feature, last_row
        As in `numerics.parameters.Parameters`; a dimension >= 4.

    Returns
    -------
    StateEvolution
        A prediction that grows beyond the range of numbers ends in infinity or NaN.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy.

    Examples
    --------
    >>> path = state_evolution(task_diversity=3, context_length=5, ridge=1, steps=30)
    >>> path.e_icl[[0, 1, 2, 30]].round(6).tolist()
    [1.0, 0.456442, 0.41282, 0.409091]
    >>> abs(float(path.rate) ** 2 - 1 / 12) < 1e-15  # z = a m = 1/2, and rate^2 = z^2/tau
    True
    """
    steps = check_count("steps", steps, minimum=0, maximum=MOST)
    point = Parameters.of(given)
    parameters = {name: point.scaled[name] for name in FLOW}
    if point.dimension is not None:
        parameters["dimension"] = point.dimension
    if initial_chi is not None:
        parameters["initial_chi"] = real("initial_chi", initial_chi)
    parameters = broadcast_arrays(parameters)
    shape = parameters["ridge"].shape
    check_memory(
        8.0 * _KEPT * (steps + 1) * max(1, parameters["ridge"].size),
        what=f"{steps} steps at {parameters['ridge'].size} points",
        remedy="take fewer steps",
    )
    flat = {name: array.reshape(-1) for name, array in parameters.items()}
    # First, because it also refuses counts P or N that round to 0.
    fixed = solve_points(point.replaced(**{name: parameters[name] for name in parameters if name != "initial_chi"}))
    with np.errstate(all="ignore"):
        values = _large(flat, steps) if point.dimension is None else _finite(flat, steps, point.norm, point.layer)
    # At large ridge the replicon is 1 to rounding, on either side.
    rate = np.where(np.isfinite(fixed.chi), np.sqrt(np.maximum(1 - fixed.replicon, 0.0)), np.nan)[()]
    return StateEvolution(**{name: array.reshape(steps + 1, *shape) for name, array in values.items()}, rate=rate)


def _large(flat: dict[str, Array], steps: int) -> dict[str, Array]:
    """D -> infinity: the squared norms of the features do not fluctuate, one node."""
    rho, one = flat["label_noise"], np.ones_like(flat["ridge"])
    a, a_test = (1 + (1 + rho) / flat[name] for name in ("context_length", "test_context_length"))
    law = _Law(
        weight=np.ones(1),
        inverse_fraction=np.array([[1.0], [np.inf]]),
        feature=np.stack([a, (1 + rho) ** 2])[..., None],
        signal=one[:, None],
        label=(1 + rho)[:, None],
    )
    return _recursion(law, flat, steps, (1 + rho, one, a, 0 * rho), (1 + rho, one, a_test, 0 * rho))


def _finite(flat: dict[str, Array], steps: int, norm: str, layer: LastRow) -> dict[str, Array]:
    """Finite D, point by point: each has its own law of one prompt."""
    paths: list[dict[str, Array]] = []
    groups = 1 + layer.last_row
    if not flat["ridge"].size:
        raise ParameterError("the parameters are empty arrays: give at least one value")
    for index in range(flat["ridge"].size):
        point = {name: array[index : index + 1].copy() for name, array in flat.items()}
        size, rho = float(point["dimension"][0]), float(point["label_noise"][0])
        sizes = sizes_at(int(size), {name: array[0] for name, array in point.items()}, norm)
        point["task_diversity"][:] = from_unscaled(size, prompts=sizes.prompts)["task_diversity"]
        nodes = prompt_nodes(sizes.dimension, sizes.context, sizes.divisor, rho)
        last_square = layer.scale(sizes.dimension) ** 2
        law = _Law(
            weight=nodes.weight,
            inverse_fraction=np.array([[1.0], [size]])[:groups],
            feature=np.stack([nodes.block, last_square * nodes.last])[:groups, None] / size,
            signal=nodes.signal[None] / size,
            label=nodes.label[None],
        )
        moments, test_moments = (
            (label, signal, block, last_square * last)
            for label, signal, block, last in (
                generated_numpy.feature_moments(size, count, divisor(count, norm), rho)
                for count in (sizes.context, sizes.test_context)
            )
        )
        paths.append(_recursion(law, point, steps, moments, test_moments))
    return {name: np.concatenate([path[name] for path in paths], axis=1) for name in paths[0]}


def _recursion(
    law: _Law, point: dict[str, Array], steps: int, moments: tuple[Any, ...], test_moments: tuple[Any, ...]
) -> dict[str, Array]:
    """All steps, (steps + 1, points).

    The first axis is block and last row, or block alone. u_t is the label minus what the other prompts predict; at
    given scalars of the prompt ``square`` is E u_t^2 and ``gap`` E (u_t - u_{t-1})^2. ``spread`` and ``moved`` are the
    fluctuating parts of the squared norms of W_t and of W_t - W_{t-1}, over D for the block. The moments are those of a
    prompt, exact where the nodes are not, for the errors on prompts of the pretraining and of the test length.
    """
    tau, lam = point["task_diversity"], point["ridge"]
    root = np.sqrt(law.inverse_fraction)
    if "initial_chi" in point:
        chi = np.stack([point["initial_chi"]] * len(law.feature))
    else:
        chi = 1 / (lam + law.inverse_fraction * (law.feature @ law.weight))
    m = step = np.zeros_like(lam)
    spread = moved = np.zeros_like(chi)
    # Before the first step there is no residual: the prompts have not spoken.
    om_before = square_before = np.zeros((1, 1))
    kick_before = np.zeros((1, 1, 1))
    rows = []
    for _ in range(steps + 1):
        leverage = np.sum(law.feature * (chi / tau)[..., None], axis=0)
        om = 1 / (1 + leverage)
        bias = law.label - 2 * law.signal * m[:, None] + law.feature[0] * (m**2)[:, None]
        square = bias + np.sum(law.feature * spread[..., None], axis=0)
        gap = law.feature[0] * (step**2)[:, None] + np.sum(law.feature * moved[..., None], axis=0)
        cross = square - square_before + gap  # 2 E u_t (u_t - u_{t-1})
        # y - S W_t = u_t - k u_{t-1}: the Onsager term had taken away the answer to the last residual.
        k = leverage * om_before
        train = (1 - k) ** 2 * square + k**2 * gap + k * (1 - k) * cross
        q = m**2 + spread[0]
        last_row = spread[1] if len(spread) == 2 else np.zeros_like(q)
        e_icl, e_idg = (
            label - 2 * signal * m + block * q + last * last_row
            for label, signal, block, last in (test_moments, moments)
        )
        rows.append((m, q, chi[0], e_icl, e_idg, train @ law.weight, step**2 + moved[0], last_row))

        # chi times the root keeps the last row finite at D -> infinity, where chi is 0 and the root infinite.
        response = 1 / (lam / law.inverse_fraction + (law.feature * om) @ law.weight) / root
        chi = response / root
        new_m = chi[0] * ((om * law.signal) @ law.weight)
        m, step = new_m, new_m - m
        # A prompt kicks a spin by its feature times kick u; what changes is kick u_t - kick_before u_{t-1}.
        kick = response[..., None] * om
        more = kick - kick_before
        spread = (law.feature * kick**2 * square) @ law.weight / tau
        moved = (
            (law.feature * (more**2 * square + kick_before**2 * gap + more * kick_before * cross)) @ law.weight / tau
        )
        om_before, square_before, kick_before = om, square, kick
    names = ("m", "q", "chi", "e_icl", "e_idg", "e_train", "change", "last_row")
    return {name: np.stack(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
