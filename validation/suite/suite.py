"""The whole validation suite, resumable."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iclglass.numerics.arguments import check_choice, check_count
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.validation.simulation import Simulation, simulate_all
from iclglass.validation.suite.compared import compare_point
from iclglass.validation.suite.controls import detections
from iclglass.validation.suite.coverage import interval_coverage
from iclglass.validation.suite.digits import worst_digits
from iclglass.validation.suite.models import ModelPoint, compare_models, model_points, model_simulations
from iclglass.validation.suite.points import SCALES, RegisteredPoint, Scale, points
from iclglass.validation.suite.result import FALSE_ALARM, SuiteResult
from iclglass.validation.suite.sampled import sampled_rows, sampler_detections
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, check_largest_unseen_bias

__all__ = ["SAMPLES", "run_suite", "suite_simulations"]

_COVERED = {"task_diversity": 2.0, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.1}
_COVERED_DIMENSION = 8
_SEEDS = 100_003
SAMPLES = "samples.checkpoint"
"""File of a folder that keeps the finished data sets."""
_COVERED_QUANTITIES = ("m", "q", "e_icl", "e_train")


def run_suite(
    scale: str = "standard",
    *,
    seed: int = 0,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    folder: Path | None = None,
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    only: Sequence[RegisteredPoint] | None = None,
    models: Sequence[ModelPoint] | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> SuiteResult:
    """Run the suite; simulate what a former run in the same folder has not.

    Parameters
    ----------
    scale : {"standard", "full"}
        See `validation.suite.points.SCALES`.
    seed : int
        Of all random numbers; every point has its own, derived from it.
    largest_unseen_bias : float
        What agrees is only what would have shown a relative bias of this size, with probability 0.9; where nothing
        could, the suite is inconclusive.
    folder : Path, optional
        Where finished data sets are kept, in ``samples.checkpoint`` and a file a model: those of one seed serve both
        scales.
    executor, workers, progress, say, fresh, resume_anyway
        Where data sets are drawn and kept, as in `validation.simulation.simulate_all`.
    only : sequence of RegisteredPoint, optional
        Other points than those of points.csv, for tests.
    models : sequence of ModelPoint, optional
        Other models than those of models.csv, for tests.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError, WorkerError, KeyboardInterrupt
        As `validation.simulation.simulate_all`; a folder that keeps data sets of another seed or other points.
    """
    setting = SCALES[check_choice("suite", scale, tuple(SCALES))]
    seed = check_count("seed", seed, minimum=0)
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    chosen = points() if only is None else tuple(only)
    modelled = model_points() if models is None else tuple(models)
    simulations = suite_simulations(chosen, setting, seed)
    laws = model_simulations(modelled, samples=setting.samples, first_seed=seed * _SEEDS + len(chosen))
    progress_from = _counting(progress, [*simulations.values(), *laws])
    options: dict[str, Any] = {"executor": executor, "workers": workers, "say": say}
    options |= {"fresh": fresh, "resume_anyway": resume_anyway}
    # Small matrices: one BLAS thread is faster than two, and much faster on a busy machine.
    with one_blas_thread():
        *samples, covered = simulate_all(
            simulations,
            {"seed": seed, "points": [point.label for point in chosen], "coverage": _COVERED},
            work="validation suite",
            progress=progress_from(0),
            checkpoint=None if folder is None else folder / SAMPLES,
            **options,
        )
        of_models = [
            # One after the other: rows of a store are of one width, and each model measures what it has.
            simulate_all(
                {"": law},
                law.drawn_from(),
                work=f"validation suite, {point.name}",
                progress=progress_from(len(simulations) + number),
                checkpoint=None if folder is None else folder / point.file,
                **options,
            )[0]
            for number, (point, law) in enumerate(zip(modelled, laws, strict=True))
        ]
        results = [
            compare_point(point, found, false_alarm=FALSE_ALARM / len(chosen), largest_unseen_bias=largest_unseen_bias)
            for point, found in zip(chosen, samples, strict=True)
        ]
        sampler_seed = seed * _SEEDS + 99_987
        return SuiteResult(
            scale=scale,
            seed=seed,
            dimensions=setting.dimensions,
            samples=setting.samples,
            points=tuple(results),
            models=compare_models(
                modelled, of_models, false_alarm=FALSE_ALARM, largest_unseen_bias=largest_unseen_bias
            ),
            coverages=tuple(
                interval_coverage(name, covered.values[name][0], group=setting.group) for name in _COVERED_QUANTITIES
            ),
            samplers=sampled_rows(seed=sampler_seed, draws=setting.draws),
            detections=(
                *detections(seed=seed * _SEEDS + 99_989),
                *sampler_detections(seed=sampler_seed, draws=setting.draws),
            ),
            digits=worst_digits(setting.digits, seed=seed),
            largest_unseen_bias=largest_unseen_bias,
            programs=covered.programs,
        )


def _counting(
    progress: Callable[[int, int], None] | None, simulations: Sequence[Simulation]
) -> Callable[[int], Callable[[int, int], None] | None]:
    """Progress of several runs, one after the other, as that of one: of a run from the simulation of an index on."""
    counts = [len(each.data_sets()) for each in simulations]

    def from_(first: int) -> Callable[[int, int], None] | None:
        if progress is None:
            return None
        before, total = sum(counts[:first]), sum(counts)
        return lambda done, _: progress(before + done, total)

    return from_


def suite_simulations(chosen: Sequence[RegisteredPoint], setting: Scale, seed: int) -> dict[str, Simulation]:
    """What is simulated: every point, and a point of many data sets for the coverage of error bars, by name.

    Points that shared a seed would share their random numbers, and their z-scores would not be independent.
    """
    found = {
        f"point {number + 1} ": Simulation.of(
            None,
            asdict(point),
            dimensions=setting.dimensions,
            samples=setting.samples,
            seed=seed * _SEEDS + number,
        )
        for number, point in enumerate(chosen)
    }
    many = setting.replicates * setting.group
    covered = Simulation.of(None, _COVERED, dimensions=(_COVERED_DIMENSION,), samples=many, seed=seed * _SEEDS + 99_991)
    return found | {"coverage ": covered}
