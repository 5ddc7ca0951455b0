"""Single data sets from fixed seeds: solved, sampled, trained on."""

import numpy as np

import iclglass
from tests.golden.table import Table, stack

__all__ = ["instances", "samples", "training"]

_INSTANCES = [
    # (context N, prompts P, label noise, norm, ridge0, beta)
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
    for seed, (context, prompts, noise, norm, ridge0, beta) in enumerate(_INSTANCES):
        rng = np.random.default_rng(seed)
        data = iclglass.draw_prompts(
            dimension=6, context=context, prompts=prompts, label_noise=noise, norm=norm, rng=rng
        )
        new = iclglass.draw_prompts(dimension=6, context=context, prompts=5, label_noise=noise, norm=norm, rng=rng)
        for method in ("gamp", "exact", "tap", "published"):
            found = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method=method)
            overlaps = iclglass.overlaps(found)
            predicted = none
            if np.isfinite(found.mean).all():
                predicted = iclglass.predict(found, new.context, new.query, instance=data)
            rows.append(
                (
                    {
                        "seed": seed,
                        "context": context,
                        "prompts": prompts,
                        "label_noise": noise,
                        "norm": norm,
                        "ridge0": ridge0,
                        "beta": beta,
                        "method": method,
                    },
                    {
                        "mean": found.mean,
                        "variance_row_means": found.variance.mean(axis=1),
                        "variance_column_means": found.variance.mean(axis=0),
                        "free_energy": found.free_energy,
                        "status": found.status.name,
                        "m": overlaps.m,
                        "q": overlaps.q,
                        "q_self": overlaps.q_self,
                        "uniqueness": overlaps.uniqueness,
                        "contrast": iclglass.contrast(found),
                        "predicted_mean": predicted.mean,
                        "predicted_deviation": predicted.deviation,
                        "label": new.label,
                    },
                )
            )
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
        values = {name: np.asarray(column) for name, column in found.observables.items()}
        values |= {
            "last_weights": found.weights[:, -1],
            "acceptance": found.acceptance,
            "step": found.step,
            "bound": found.bound,
            "trajectory": found.trajectory,
            "warmup": found.warmup,
            "thin": found.thin,
        }
        rows.append(({"method": method, "seed": seed}, values))
    return stack(rows)


def training() -> Table:
    """Forty steps by every optimiser, of W itself and of key and query."""
    test = iclglass.draw_prompts(dimension=4, context=8, prompts=20, rng=np.random.default_rng(12))
    rows = []
    for parametrisation in ("merged", "separate"):
        for optimiser, batch, rate in (("gd", None, 0.1), ("sgd", 10, 0.05), ("adam", None, 0.02), ("adam", 15, 0.02)):
            run = iclglass.train(
                _small(),
                parametrisation=parametrisation,
                optimiser=optimiser,
                batch=batch,
                steps=40,
                learning_rate=rate,
                ridge0=0.02,
                test=test,
                record=[1, 5, 20],
                rng=np.random.default_rng(13),
            )
            names = ("steps", "energy", "train_error", "test_error", "residual", "weights", "stable_rate")
            values = {name: getattr(run, name) for name in names}
            values["outcome"] = str(run.outcome)
            place = {"parametrisation": parametrisation, "optimiser": optimiser, "batch": batch or 60}
            rows.append((place, values))
    return stack(rows)
