"""Single data sets from fixed seeds: solved, sampled, trained on."""

import numpy as np

import iclglass
from tests.golden.table import Table, stack

__all__ = ["instances", "samples", "training"]

_LAW = ("context", "prompts", "label_noise", "norm")
_INSTANCES = [
    # the law, then ridge0 and beta
    (6, 1500, 0.0, "N", 0.02, 100.0),
    (12, 2000, 0.1, "N", 0.01, 50.0),
    (30, 1000, 0.3, "N", 0.005, 200.0),
    (6, 3000, 0.0, "N+1", 0.05, 30.0),
    (12, 2500, 0.1, "N+1", 0.3, 100.0),
    (30, 4000, 0.0, "N", 0.1, 10.0),
    (12, 60, 0.2, "N", 0.02, 100.0),
    (24, 25, 0.0, "N", 0.05, 100.0),
    (12, 25, 0.1, "N+1", 0.1, 1e4),
    (60, 300, 0.05, "N", 0.01, 1e3),
]


def instances() -> Table:
    """Ten data sets of D = 6 by each method: weights, variances, overlaps, free energy, predictions on five prompts.

    Where a method diverges its numbers are NaN, here as there.
    """
    none = iclglass.Prediction(np.full(5, np.nan), np.full(5, np.nan), "none")
    rows = []
    for seed, place in enumerate(_INSTANCES):
        law, measure = dict(zip(_LAW, place[:4], strict=True)), dict(zip(("ridge0", "beta"), place[4:], strict=True))
        rng = np.random.default_rng(seed)
        data, new = (iclglass.draw_prompts(dimension=6, **law | more, rng=rng) for more in ({}, {"prompts": 5}))
        for method in ("gamp", "exact", "tap", "published"):
            found = iclglass.solve_instance(data, **measure, method=method)
            overlaps = iclglass.overlaps(found)
            predicted = none
            if np.isfinite(found.mean).all():
                predicted = iclglass.predict(found, new.context, new.query, instance=data)
            values = {
                "mean": found.mean,
                "variance_row_means": found.variance.mean(axis=1),
                "variance_column_means": found.variance.mean(axis=0),
                "free_energy": found.free_energy,
                "status": found.status.name,
                "contrast": iclglass.contrast(found),
                "predicted_mean": predicted.mean,
                "predicted_deviation": predicted.deviation,
                "label": new.label,
            }
            values |= {name: getattr(overlaps, name) for name in ("m", "q", "q_self", "uniqueness")}
            rows.append(({"seed": seed, **law, **measure, "method": method}, values))
    return stack(rows)


def _small() -> iclglass.Instance:
    return iclglass.draw_prompts(dimension=4, context=8, prompts=60, label_noise=0.1, rng=np.random.default_rng(11))


def samples() -> Table:
    """Eight draws of each of two chains by every sampler."""
    rows = []
    for seed, method in enumerate(("exact", "heat-bath", "langevin", "mala", "hmc")):
        found = iclglass.sample(
            _small(), ridge0=0.02, beta=50.0, method=method, draws=8, chains=2, rng=np.random.default_rng(seed)
        )
        names = ("acceptance", "step", "bound", "trajectory", "warmup", "thin")
        values = {**found.observables, **{name: getattr(found, name) for name in names}}
        values["last_weights"] = found.weights[:, -1]
        rows.append(({"method": method, "seed": seed}, values))
    return stack(rows)


def training() -> Table:
    """Forty steps by every optimiser, of W itself and of key and query."""
    test = iclglass.draw_prompts(dimension=4, context=8, prompts=20, rng=np.random.default_rng(12))
    rows = []
    for parametrisation in ("merged", "separate"):
        for optimiser, batch, rate in (("gd", None, 0.1), ("sgd", 10, 0.05), ("adam", None, 0.02), ("adam", 15, 0.02)):
            place = {"parametrisation": parametrisation, "optimiser": optimiser, "batch": batch}
            rates = {"learning_rate": rate, "ridge0": 0.02, "steps": 40, "record": [1, 5, 20]}
            run = iclglass.train(_small(), **place, **rates, test=test, rng=np.random.default_rng(13))
            names = ("steps", "energy", "train_error", "test_error", "residual", "weights", "stable_rate")
            values = {"outcome": str(run.outcome), **{name: getattr(run, name) for name in names}}
            rows.append((place | {"batch": batch or 60}, values))
    return stack(rows)
