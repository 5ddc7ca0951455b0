"""Samplers in the suite: each against the exact Gaussian of one data set, and samplers that are wrong on purpose."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from iclglass.numerics.instance.data import Instance
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.checks import check_law
from iclglass.validation.samplers.law import WeightLaw, boltzmann_law, langevin_law
from iclglass.validation.samplers.sampling import METHODS, Samples, sample
from iclglass.validation.suite.controls import Detection

__all__ = ["SampledRow", "sampled_rows", "sampler_detections"]

_RIDGE0, _BETA = 0.05, 40.0
_CHAINS = 4
# Of all samplers together.
_FALSE_ALARM = 0.01


@dataclass(frozen=True)
class SampledRow:
    """One moment of one sampler. error: Monte Carlo standard error.    threshold: of |z|."""

    method: str
    quantity: str
    estimate: float
    exact: float
    error: float
    z: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether |z| is within the threshold; not for NaN."""
        return abs(self.z) <= self.threshold


def sampled_rows(*, seed: int, draws: int) -> tuple[SampledRow, ...]:
    """Every sampler on one data set; unadjusted Langevin against the law it is predicted to have, bias included."""
    data = _data(seed)
    rows = []
    for index, method in enumerate(METHODS):
        found = _sampled(data, method, draws, np.random.default_rng([seed, 4, index]))
        if method == "langevin":
            law = langevin_law(data, ridge0=_RIDGE0, beta=_BETA, step=found.step)
        else:
            law = boltzmann_law(data, ridge0=_RIDGE0, beta=_BETA)
        for check in check_law(found, law, false_alarm=_FALSE_ALARM / len(METHODS)):
            rows.append(
                SampledRow(method, check.name, check.estimate, check.exact, check.mcse, check.z, check.threshold)
            )
    return tuple(rows)


def sampler_detections(*, seed: int, draws: int) -> tuple[Detection, ...]:
    """Samplers with one thing wrong; the statistic is the largest |z| over its threshold."""
    data = _data(seed)
    law = boltzmann_law(data, ridge0=_RIDGE0, beta=_BETA)
    adjusted = _sampled(data, "mala", draws, np.random.default_rng([seed, 5, 0]))
    controls: dict[str, tuple[Callable[[np.random.Generator], Samples], Samples]] = {
        "sampler at a temperature 25 % too high": (
            lambda rng: sample(data, ridge0=_RIDGE0, beta=_BETA / 1.25, draws=draws, chains=_CHAINS, rng=rng),
            _sampled(data, "exact", draws, np.random.default_rng([seed, 5, 1])),
        ),
        "sampler with the field h of the wrong sign": (
            lambda rng: _sampled(replace(data, label=-data.label), "hmc", draws, rng),
            _sampled(data, "hmc", draws, np.random.default_rng([seed, 5, 2])),
        ),
        "Langevin without its accept step": (
            lambda rng: sample(
                data,
                ridge0=_RIDGE0,
                beta=_BETA,
                method="langevin",
                step=adjusted.step,
                draws=draws,
                chains=_CHAINS,
                rng=rng,
            ),
            adjusted,
        ),
    }
    found = []
    for index, (name, (wrong, sound)) in enumerate(controls.items()):
        rng = np.random.default_rng([seed, 6, index])
        found.append(
            Detection(name, "moments against the exact Gaussian", _excess(wrong(rng), law), 1.0, _excess(sound, law))
        )
    return tuple(found)


def _data(seed: int) -> Instance:
    drawn = draw_prompts(dimension=6, context=12, prompts=100, label_noise=0.1, rng=np.random.default_rng([seed, 7]))
    return Instance(drawn.context, drawn.query, drawn.label)


def _sampled(data: Instance, method: str, draws: int, rng: np.random.Generator) -> Samples:
    return sample(data, ridge0=_RIDGE0, beta=_BETA, method=method, draws=draws, chains=_CHAINS, rng=rng)


def _excess(samples: Samples, law: WeightLaw) -> float:
    return max(abs(check.z) / check.threshold for check in check_law(samples, law, false_alarm=_FALSE_ALARM))
