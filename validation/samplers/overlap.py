"""Two replicas on the same disorder: the overlap distribution P(q), and thermal averages against the theory.

Replicas are weights drawn independently from the measure of one data set. Their overlap q12 = Tr W1 W2^T/D over the
block fluctuates from pair to pair and from data set to data set; P(q) is its law over both. Its mean is the order
parameter q of the theory, that of a replica with itself q_self. As task diversity grows the two approach each other:
the data leave one solution (SG, uniqueness of the solution).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_count, check_real
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.sizes import from_unscaled, to_unscaled
from iclglass.validation.population import PromptMoments, gaussian_moments
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.checks import FALSE_ALARM, Check, judged
from iclglass.validation.samplers.sampling import Samples, sample
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ReplicaSamples", "draw_replicas", "thermal_averages", "thermal_checks"]

FloatArray = NDArray[np.float64]

_AVERAGED = ("m", "q", "q_self", "energy", "e_icl_gibbs")


@dataclass(frozen=True, eq=False)
class ReplicaSamples:
    """Pairs of replicas of independent data sets at one point; ridge and temperature are the theory's, scaled.

    overlap, self_overlap : (data sets, pairs), q12 and the mean of q11 and q22.
    averages : m, q, q_self, energy, e_icl_gibbs -> (data sets,), thermal averages of each data set over its draws.
    theory : the same names, `numerics.finite_size.solve_finite` at the integers used.
    """

    dimension: int
    context: int
    prompts: int
    label_noise: float
    ridge: float
    temperature: float
    method: str
    overlap: FloatArray
    self_overlap: FloatArray
    averages: Mapping[str, FloatArray]
    theory: Mapping[str, float]

    def to_dataset(self) -> xr.Dataset:
        """Overlaps along data set and pair, averages, the theory as NAME_theory; scaled parameters as coordinates."""
        import xarray as xr

        pairs = ("data_set", "pair")
        variables: dict[str, Any] = {"overlap": (pairs, self.overlap), "self_overlap": (pairs, self.self_overlap)}
        variables |= {name: ("data_set", values) for name, values in self.averages.items()}
        variables |= {f"{name}_theory": value for name, value in self.theory.items()}
        sizes = from_unscaled(self.dimension, prompts=self.prompts, context=self.context)
        law = {name: getattr(self, name) for name in ("label_noise", "ridge", "temperature", "dimension")}
        return xr.Dataset(variables, {**sizes, **law}, {"method": self.method})


def draw_replicas(
    *,
    dimension: int,
    context: int,
    prompts: int,
    label_noise: float = 0.0,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
    ridge: float,
    temperature: float,
    method: str = "exact",
    data_sets: int = 32,
    pairs: int = 200,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> ReplicaSamples:
    """Draw pairs of replicas of independent data sets, ridge = D lambda0 > 0 and temperature = D^2/beta > 0.

    >>> found = draw_replicas(
    ...     dimension=5, context=10, prompts=30, ridge=0.1, temperature=0.1, data_sets=3, pairs=8,
    ...     rng=np.random.default_rng(1),
    ... )
    >>> found.overlap.shape, found.theory["q"] < found.theory["q_self"]
    ((3, 8), True)
    """
    ridge = check_real("ridge", ridge, minimum=0.0, above=True)
    temperature = check_real("temperature", temperature, minimum=0.0, above=True)
    data_sets = check_count("data_sets", data_sets, minimum=2, reason="a standard error needs two")
    pairs = check_count("pairs", pairs, minimum=1)
    overlap, self_overlap = np.empty((data_sets, pairs)), np.empty((data_sets, pairs))
    averages = {name: np.empty(data_sets) for name in _AVERAGED}
    layer = LastRow(last_feature, last_row).to_dict()
    law: dict[str, Any] = {"context": context, "label_noise": label_noise, "norm": norm, **layer}
    moments = gaussian_moments(np.ones(dimension), **law)
    for index in range(data_sets):
        data = draw_prompts(dimension=dimension, prompts=prompts, **law, rng=rng)
        found = sample(
            data,
            **to_unscaled(dimension, ridge=ridge, temperature=temperature),
            method=method,
            draws=pairs,
            chains=2,
            keep_weights=True,
            rng=rng,
        )
        overlap[index] = found.overlaps[0]
        self_overlap[index] = found.observables["q_self"].mean(axis=0)
        for name, value in thermal_averages(found, moments).items():
            averages[name][index] = value
        averages["q"][index] = overlap[index].mean()
        if progress is not None:
            progress(index + 1, data_sets)
    point = from_unscaled(dimension, prompts=prompts, context=context) | {"ridge": ridge, "temperature": temperature}
    theory = solve_finite(dimension=dimension, **point, label_noise=label_noise, norm=norm, **layer)
    return ReplicaSamples(
        dimension=dimension,
        context=context,
        prompts=prompts,
        label_noise=label_noise,
        ridge=ridge,
        temperature=temperature,
        method=method,
        overlap=overlap,
        self_overlap=self_overlap,
        averages=averages,
        theory={name: float(getattr(theory, name)) for name in _AVERAGED},
    )


def thermal_checks(found: ReplicaSamples, *, false_alarm: float = FALSE_ALARM) -> tuple[Check, ...]:
    """Thermal averages, averaged over the data sets, against the finite-size theory; z-scores over data sets."""
    count = found.overlap.shape[0]
    threshold = bonferroni_threshold(false_alarm, len(_AVERAGED), count - 1)
    rows = []
    for name in _AVERAGED:
        mean, error = (float(part) for part in mean_and_error(found.averages[name]))
        rows.append(judged(name, mean, found.theory[name], error, threshold, dof=count - 1))
    return tuple(rows)


def thermal_averages(samples: Samples, moments: PromptMoments) -> dict[str, float]:
    """m, q_self, energy, e_icl_gibbs: means over all draws; moments: of a new prompt with an isotropic task.

    e_icl_gibbs, the error of a drawn W on a new task, is quadratic in W: `validation.population`.
    """
    size = samples.dimension
    means = {name: float(np.mean(values)) for name, values in samples.observables.items()}
    last_row = means["norm"] - size * means["q_self"]
    error = (
        moments.label
        - 2 * size * float(moments.signal[0, 0]) * means["m"]
        + float(moments.second[0, 0]) * size * means["q_self"]
        + float(np.sum(moments.second[size:, size:])) * last_row
    )
    return {"m": means["m"], "q_self": means["q_self"], "energy": means["energy"], "e_icl_gibbs": error}
