"""Independent data sets at several dimensions, each measured exactly.

At dimension D there are P = round(tau D^2) prompts with N = round(alpha D) labelled tokens. Tasks come from a pool
of K = round(kappa D), drawn anew for every data set, or are their own (kappa infinite). The integers used are part of
the result. Every data set has its own random stream, fixed by (seed, D, sample index) and nothing else: any subset, in
any order, gives the same numbers.

Data sets are shared out to threads, each with a single-threaded BLAS: the linear algebra runs outside
Python's lock, two threads with one BLAS thread each are several times faster than one with two on a busy
machine, and the rounding does not depend on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import (
    LARGEST,
    MOST,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_path,
    check_real,
)
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.instance.linear_response import cheapest
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import check_memory
from iclglass.numerics.parameters import real
from iclglass.numerics.running.blas import cores, one_blas_thread
from iclglass.numerics.running.resuming import Program
from iclglass.numerics.sizes import NORMS, sizes_at
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum
from iclglass.validation.checkpoint import open_checkpoint
from iclglass.validation.observables import QUANTITIES, measure
from iclglass.validation.pools import at_dimension, draw_pool
from iclglass.validation.prompts import draw_prompts

__all__ = ["FiniteSizeSamples", "estimate_memory", "simulate"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FiniteSizeSamples:
    """Quantities of independent data sets at several dimensions, and all that is needed to draw them again.

    dimensions, prompts, contexts : D, P and N, the integers used, in ascending order of D.
    values : quantity -> array (sizes, samples); names and scaling as in `validation.observables.Observables`.
    task_counts : K, tasks in the pool of each dimension; P where every prompt has its own (distinct_tasks infinite).
    last_feature, last_row : the layer, see `numerics.last_row`.
    test_contexts : tokens in a test prompt; N if test_context_length is None.
    tasks : covariance spectrum; at dimension D its D quantiles are used (`validation.pools.at_dimension`).
    programs : which have drawn them, see `numerics.running.resuming`.
    """

    task_diversity: float
    context_length: float
    label_noise: float
    ridge: float
    temperature: float
    norm: str
    seed: int
    samples: int
    dimensions: tuple[int, ...]
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    values: Mapping[str, FloatArray]
    distinct_tasks: float
    task_counts: tuple[int, ...]
    test_context_length: float | None
    test_contexts: tuple[int, ...]
    tasks: TaskSpectrum
    last_feature: str = "unit-tokens"
    last_row: bool = True
    programs: tuple[Program, ...] = ()

    @property
    def one_law(self) -> bool:
        """Whether new tasks and new prompts of the pretraining law are the same, so that e_idg = e_icl."""
        same_tasks = bool(np.all(self.tasks.test == self.tasks.pretraining))
        return math.isinf(self.distinct_tasks) and self.test_contexts == self.contexts and same_tasks


def estimate_memory(
    *, dimension: int, prompts: int, ridge: float = 0.1, sizes: int = 1, samples: int = 1, workers: int = 1
) -> int:
    """Bytes that a simulation needs: one workspace of the largest dimension for each worker, and all results.

    The primal road needs an n x n matrix and its distinct products, n = D(D+1), or less; the dual road two P x P
    matrices.

    >>> estimate_memory(dimension=100, prompts=20000) > 8 * 10100**2
    True
    """
    spins = dimension * (dimension + 1)
    matrix = 1.5 * spins**2 + 2**22 if cheapest(dimension, prompts, ridge) == "primal" else 2.1 * prompts**2
    data = 8 * prompts * (dimension + 1)
    results = 3 * sizes * samples * len(QUANTITIES)
    return int(8 * (workers * (matrix + data) + results))


def simulate(
    *,
    task_diversity: float,
    context_length: float,
    distinct_tasks: float = math.inf,
    label_noise: float = 0.0,
    ridge: float = 0.1,
    temperature: float = 0.0,
    test_context_length: float | None = None,
    tasks: TaskSpectrum = ISOTROPIC,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
    dimensions: Sequence[int] = (16, 24, 32),
    samples: int = 32,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> FiniteSizeSamples:
    """Draw and measure `samples` independent data sets at each dimension.

    task_diversity tau > 0, context_length alpha > 0, label_noise rho >= 0, ridge lam >= 0, temperature T >=
    0 are the scaled parameters of the theory; dimensions are distinct and >= 2, samples >= 2, seed >= 0.
    distinct_tasks kappa > 0: every data set has a pool of its own of K = round(kappa D) tasks, of which each prompt
    draws one; infinite: every prompt has its own task. test_context_length: N/D of test prompts, by default as in
    pretraining. tasks: covariance spectrum of tasks in pretraining and test. last_feature, last_row: the layer, see
    `validation.prompts.draw_prompts`.
    workers: threads, by default one for each core; the result does not depend on it, except through memory.
    progress is called with (samples done, samples in all) after each. checkpoint is a file that keeps
    finished samples (see `validation.checkpoint`); an interrupt leaves it complete up to the last one. resume_anyway:
    take what another version of the program has left in it.

    Raises ParameterError or ParameterTypeError for bad values, for sizes that round to zero prompts, tokens or tasks,
    for more tasks than prompts, and when the memory estimate exceeds what is available; OutputError for an unusable
    checkpoint file.

    >>> found = simulate(task_diversity=2, context_length=1, dimensions=(4, 6), samples=3)
    >>> found.prompts, found.contexts, found.values["m"].shape
    ((32, 72), (4, 6), (2, 3))
    """
    task_diversity = check_real("task_diversity", task_diversity, minimum=0.0, above=True)
    context_length = check_real("context_length", context_length, minimum=0.0, above=True)
    label_noise = check_real("label_noise", label_noise, minimum=0.0, maximum=LARGEST)
    ridge = check_real("ridge", ridge, minimum=0.0, maximum=LARGEST)
    distinct_tasks = _check_distinct_tasks(distinct_tasks)
    if test_context_length is not None:
        test_context_length = check_real(
            "test_context_length", test_context_length, minimum=0.0, above=True, maximum=LARGEST
        )
    if not isinstance(tasks, TaskSpectrum):
        raise ParameterTypeError(f"tasks must be a TaskSpectrum, got {type(tasks).__name__}")
    temperature = check_real("temperature", temperature, minimum=0.0, maximum=LARGEST)
    norm = check_choice("norm", norm, NORMS)
    layer = LastRow(last_feature, last_row).to_dict()
    seed = check_count("seed", seed, minimum=0)
    samples = check_count("samples", samples, minimum=2, maximum=MOST, reason="a standard error needs two")
    dimensions = _check_dimensions(dimensions)
    check_callable("progress", progress)
    check_flag("fresh", fresh)
    check_flag("resume_anyway", resume_anyway)
    if checkpoint is not None:
        check_path("checkpoint", checkpoint)
    scaled = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "distinct_tasks": distinct_tasks,
        "test_context_length": test_context_length,
    }
    sizes = [sizes_at(dimension, scaled) for dimension in dimensions]
    spectra = {dimension: at_dimension(tasks, dimension) for dimension in dimensions}
    threads = check_count("workers", cores() if workers is None else workers, minimum=1, maximum=MOST)
    _refuse_memory(dimensions[-1], sizes[-1].prompts, ridge, len(sizes), samples, threads)

    parameters: dict[str, object] = {
        **scaled,
        "distinct_tasks": "inf" if math.isinf(distinct_tasks) else distinct_tasks,  # infinity is not JSON
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
        "tasks": tasks.record(),
        "norm": norm,
        **layer,
        "seed": seed,
    }

    def draw_and_measure(row: int, index: int) -> dict[str, float]:
        at, dimension, spectrum = sizes[row], dimensions[row], spectra[dimensions[row]]
        rng = np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(dimension, index)))
        covariance, pool = spectrum.pretraining, None
        if math.isfinite(distinct_tasks):
            pool = draw_pool(dimension=dimension, count=at.task_count, spectrum=covariance, rng=rng)
        data = draw_prompts(
            dimension=dimension,
            context=at.context,
            prompts=at.prompts,
            label_noise=label_noise,
            norm=norm,
            last_feature=last_feature,
            last_row=last_row,
            tasks=pool,
            spectrum=None if pool is not None or np.all(covariance == 1) else covariance,
            rng=rng,
        )
        found = measure(
            data,
            ridge=ridge,
            temperature=temperature,
            test_spectrum=None if np.all(spectrum.test == 1) else spectrum.test,
            test_context=at.test_context,
        )
        return asdict(found)

    values = {name: np.full((len(sizes), samples), math.nan) for name in QUANTITIES}
    finished, total = 0, len(sizes) * samples
    opened = open_checkpoint(checkpoint, parameters, fresh=fresh, resume_anyway=resume_anyway)
    with opened as store, one_blas_thread():
        threads_pool = ThreadPoolExecutor(max_workers=threads)
        try:
            pending = {}
            for row, dimension in enumerate(dimensions):
                for index in range(samples):
                    known = store.done.get((dimension, index))
                    if known is not None and not set(QUANTITIES) <= set(known):
                        raise OutputError(
                            f"checkpoint {checkpoint} is damaged: its sample {index} of dimension {dimension} lacks "
                            f"{', '.join(sorted(set(QUANTITIES) - set(known)))}; choose another path"
                        )
                    if known is None:
                        job = threads_pool.submit(draw_and_measure, row, index)
                        pending[job] = row, dimension, index
                        continue
                    for name in QUANTITIES:
                        values[name][row, index] = known[name]
                    finished += 1
            if progress is not None and finished:
                progress(finished, total)
            for job in as_completed(pending):
                row, dimension, index = pending[job]
                found = job.result()
                store.append((dimension, index), found)
                for name in QUANTITIES:
                    values[name][row, index] = found[name]
                finished += 1
                if progress is not None:
                    progress(finished, total)
        finally:  # after an interrupt or an error: finish what runs, start nothing more
            threads_pool.shutdown(wait=True, cancel_futures=True)
    return FiniteSizeSamples(
        task_diversity=task_diversity,
        context_length=context_length,
        label_noise=label_noise,
        ridge=ridge,
        temperature=temperature,
        norm=norm,
        seed=seed,
        samples=samples,
        dimensions=dimensions,
        prompts=tuple(at.prompts for at in sizes),
        contexts=tuple(at.context for at in sizes),
        values=values,
        distinct_tasks=distinct_tasks,
        task_counts=tuple(at.task_count for at in sizes),
        test_context_length=test_context_length,
        test_contexts=tuple(at.test_context for at in sizes),
        tasks=tasks,
        last_feature=last_feature,
        last_row=last_row,
        programs=tuple(store.programs),
    )


def _check_distinct_tasks(value: float) -> float:
    array = real("distinct_tasks", value)
    if array.ndim:
        raise ParameterTypeError(f"distinct_tasks must be one number, got {array.size}")
    return float(array)


def _check_dimensions(dimensions: Sequence[int]) -> tuple[int, ...]:
    """Distinct dimensions in ascending order."""
    if isinstance(dimensions, (str, bytes)) or not isinstance(dimensions, Sequence):
        raise ParameterTypeError(
            f"dimensions must be a sequence of integers, as (8, 12, 16), got {type(dimensions).__name__}"
        )
    sizes = sorted(check_count("dimension", size, minimum=2, maximum=MOST) for size in dimensions)
    if not sizes:
        raise ParameterError("dimensions must not be empty; give at least one, two for an extrapolation")
    if len(set(sizes)) != len(sizes):
        raise ParameterError(f"dimensions must be distinct, got {list(dimensions)}")
    return tuple(sizes)


def _refuse_memory(dimension: int, prompts: int, ridge: float, sizes: int, samples: int, workers: int) -> None:
    needed = estimate_memory(
        dimension=dimension, prompts=prompts, ridge=ridge, sizes=sizes, samples=samples, workers=workers
    )
    check_memory(
        needed,
        what=f"{sizes} x {samples} samples up to dimension {dimension} with {prompts} prompts on {workers} workers",
        remedy="use smaller dimensions, fewer samples or fewer workers",
    )
