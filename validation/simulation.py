"""Independent data sets at several dimensions, each measured exactly.

At dimension D there are P = round(tau D^2) prompts with N = round(alpha D) labelled tokens. Tasks come from a pool
of K = round(kappa D), drawn anew for every data set, or are their own (kappa infinite). The integers used are part of
the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import LARGEST, MOST, check_callable, check_count, check_flag, check_path
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.memory import check_memory
from iclglass.numerics.model_choice import is_builtin
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, Given, Parameters, collected
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.resuming import Program, program
from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Key, Row, open_store
from iclglass.numerics.sizes import Sizes
from iclglass.validation.experiment import Exact, Experiment
from iclglass.validation.model_experiment import Chosen
from iclglass.validation.model_functions import refuse_unsimulated
from iclglass.validation.pools import at_dimension

__all__ = ["FiniteSizeSamples", "Simulation", "simulate", "simulate_all"]

FloatArray = NDArray[np.float64]


def _parameter(name: str) -> Any:
    """A read-only attribute of `Simulation`: one of its parameters, a plain number."""

    def value(self: Simulation) -> Any:
        found = getattr(self.parameters, name)
        return float(found) if isinstance(found, np.ndarray) else found

    return property(value)


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulation:
    """Which independent data sets there are: those of one point, at several dimensions.

    Parameters
    ----------
    parameters : Parameters
        Of the point, with norm, layer and spectrum of tasks; its fields are attributes here, too.
    dimensions : sequence of int
        Distinct D >= 2; in ascending order.
    samples, seed : int
        Data sets at each dimension, >= 2; of all random numbers, >= 0.

    Attributes
    ----------
    sizes : tuple of Sizes
        The integers used at each dimension; prompts, contexts, task_counts and test_contexts are P, N, K (P where
        every prompt has its own task) and the tokens of a test prompt.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad values; sizes that round to zero prompts, tokens or tasks; more tasks than prompts.
    """

    parameters: Parameters
    dimensions: tuple[int, ...]
    samples: int
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, Parameters):
            raise ParameterTypeError(f"parameters must be Parameters, got {type(self.parameters).__name__}")
        for name in (*PARAMETERS, *STRENGTHS):
            if getattr(self.parameters, name) is None:
                continue
            value = self.parameters.varying(name)
            if value.ndim:
                raise ParameterTypeError(f"{name} must be one number, got {value.size}")
            if name in _LIMITED and value > LARGEST:
                raise ParameterError(f"{name} must be at most {LARGEST:g} for data sets, got {value:g}")
        checked: dict[str, object] = {
            "dimensions": _check_dimensions(self.dimensions),
            "samples": check_count(
                "samples", self.samples, minimum=2, maximum=MOST, reason="a standard error needs two"
            ),
            "seed": check_count("seed", self.seed, minimum=0),
        }
        for name, number in checked.items():
            object.__setattr__(self, name, number)
        for sizes in self.sizes:
            at_dimension(self.parameters.tasks, sizes.dimension)  # refuses a spectrum that nothing is left of
        if not self.builtin:
            refuse_unsimulated(self.parameters)

    @classmethod
    def of(cls, parameters: Parameters | None, given: Mapping[str, Any], **others: Any) -> Simulation:
        """That of parameters, or of their fields by name; others : dimensions, samples and seed."""
        return cls(parameters=collected(parameters, cast(Given, given)), **others)

    task_diversity = _parameter("task_diversity")
    context_length = _parameter("context_length")
    distinct_tasks = _parameter("distinct_tasks")
    label_noise = _parameter("label_noise")
    ridge = _parameter("ridge")
    temperature = _parameter("temperature")
    test_context_length = _parameter("test_context_length")
    tasks = _parameter("tasks")
    norm = _parameter("norm")
    last_feature = _parameter("last_feature")
    last_row = _parameter("last_row")

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """The integers of each dimension."""
        return tuple(self.parameters.at(dimension) for dimension in self.dimensions)

    @property
    def builtin(self) -> bool:
        """Whether this is ridge regression, measured exactly; else a chosen model, minimised or sampled."""
        return is_builtin(self.parameters)

    @cached_property
    def experiment(self) -> Experiment:
        """What is measured of a data set, and how."""
        return Exact(self.parameters) if self.builtin else Chosen(self.parameters)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is measured of a data set, in the order of the rows."""
        return self.experiment.quantities

    @property
    def prompts(self) -> tuple[int, ...]:
        """P of each dimension."""
        return tuple(sizes.prompts for sizes in self.sizes)

    @property
    def contexts(self) -> tuple[int, ...]:
        """N of each dimension."""
        return tuple(sizes.context for sizes in self.sizes)

    @property
    def task_counts(self) -> tuple[int, ...]:
        """K of each dimension."""
        return tuple(sizes.task_count for sizes in self.sizes)

    @property
    def test_contexts(self) -> tuple[int, ...]:
        """Tokens of a test prompt of each dimension."""
        return tuple(sizes.test_context for sizes in self.sizes)

    @property
    def one_law(self) -> bool:
        """Whether new tasks and new prompts of the pretraining law are the same, so that e_idg = e_icl."""
        same_tasks = bool(np.all(self.tasks.test == self.tasks.pretraining))
        return math.isinf(self.distinct_tasks) and self.test_contexts == self.contexts and same_tasks

    def drawn_from(self) -> dict[str, Any]:
        """What a data set follows from beside its dimension and index, as JSON holds it."""
        named = {name: getattr(self, name) for name in (*PARAMETERS, "norm", "last_feature", "last_row", "seed")}
        kappa = "inf" if math.isinf(self.distinct_tasks) else self.distinct_tasks
        record = {} if self.builtin else self.parameters.record()
        model = {name: record[name] for name in self.parameters.chosen if name in record}
        return named | {"distinct_tasks": kappa, "tasks": self.tasks.record()} | model

    def data_sets(self, name: str = "") -> dict[Key, Any]:
        """All data sets: tasks by their key in a store, which begins with a name where several simulations share
        one."""
        return {
            f"{name}D={sizes.dimension} {which}": task
            for sizes in self.sizes
            for which, task in self.experiment.tasks(sizes, self.seed, self.samples).items()
        }

    def gathered(self, done: Mapping[Key, Row], name: str = "", programs: Iterable[Program] = ()) -> FiniteSizeSamples:
        """The samples, from the rows of all `data_sets`."""
        count = len(self.quantities)
        rows = [done[key].values[: task.count * count] for key, task in self.data_sets(name).items()]
        table = np.concatenate(rows).reshape(len(self.dimensions), self.samples, count)
        own = {field.name: getattr(self, field.name) for field in fields(Simulation)}
        values = {quantity: table[:, :, column].copy() for column, quantity in enumerate(self.quantities)}
        return FiniteSizeSamples(**own, values=values, programs=tuple(programs))


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteSizeSamples(Simulation):
    """Quantities of the data sets of a simulation.

    Parameters
    ----------
    values : mapping
        Quantity -> array (sizes, samples); names and scaling as in `validation.observables.Observables`, or those of
        `validation.model_experiment.quantities_of`.
    programs : tuple of Program
        Which have drawn them, see `numerics.running.resuming`.
    """

    values: Mapping[str, FloatArray]
    programs: tuple[Program, ...] = ()


@spelled_out
def simulate(
    parameters: Parameters | None = None,
    /,
    *,
    dimensions: Sequence[int] = (16, 24, 32),
    samples: int = 32,
    seed: int = 0,
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
    **given: Any,
) -> FiniteSizeSamples:
    """Draw and measure independent data sets of one point at each of several dimensions.

    Parameters
    ----------
    parameters : Parameters, optional
        Or its fields as keywords.
    dimensions, samples, seed
        As in `Simulation`.
    executor, workers, progress, say, checkpoint, fresh, resume_anyway
        As in `simulate_all`.

    Returns
    -------
    FiniteSizeSamples

    Raises
    ------
    ParameterError, ParameterTypeError
        As `Simulation`, and what needs more memory than there is.
    OutputError, WorkerError, KeyboardInterrupt
        As `simulate_all`.

    Examples
    --------
    >>> found = simulate(task_diversity=2, context_length=1, dimensions=(4, 6), samples=3)
    >>> found.prompts, found.contexts, found.values["m"].shape
    ((32, 72), (4, 6), (2, 3))
    """
    simulation = Simulation.of(parameters, given, dimensions=dimensions, samples=samples, seed=seed)
    (found,) = simulate_all(
        {"": simulation},
        simulation.drawn_from(),
        executor=executor,
        workers=workers,
        progress=progress,
        say=say,
        checkpoint=checkpoint,
        fresh=fresh,
        resume_anyway=resume_anyway,
    )
    return found


def simulate_all(
    simulations: Mapping[str, Simulation],
    origin: Mapping[str, Any],
    *,
    work: str = "simulation",
    executor: Executor | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    resume_anyway: bool = False,
) -> list[FiniteSizeSamples]:
    """The samples of several simulations, one list of tasks for all of them.

    Parameters
    ----------
    simulations : mapping
        Name -> simulation; the names begin the keys in the checkpoint.
    origin : mapping
        All that the data sets follow from beside their keys.
    work : str
        What messages call all of them together.
    executor, workers
        Where data sets are drawn, as in `validation.sweeping.sweep.sweep_simulated`; the result does not depend on it.
    progress, say : callable, optional
        Called with (data sets done, data sets in all), or batches of those that are sampled side by side, and with a
        sentence on what happens.
    checkpoint : path, optional
        A file that keeps finished data sets (`numerics.running.store`), and is kept: it serves any list of dimensions
        and any number of samples of the same point and seed.
    fresh, resume_anyway : bool
        Drop what the checkpoint holds; take what another version of the program has left in it.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad values; what needs more memory than there is; a checkpoint of other parameters.
    OutputError
        An unusable checkpoint; workers or a scheduler that are not there.
    WorkerError
        A worker died each time that it drew a data set.
    KeyboardInterrupt
        After Ctrl-C.
    """
    for callback, given in (("progress", progress), ("say", say)):
        check_callable(callback, given)
    check_flag("fresh", fresh)
    check_flag("resume_anyway", resume_anyway)
    if checkpoint is not None:
        check_path("checkpoint", checkpoint)
    # The engine first: one that is not there must not cost what was finished.
    with make_engine(executor, workers=workers) as engine:
        for each in simulations.values():
            _refuse_memory(each, engine.workers)
        tasks = {key: task for name, each in simulations.items() for key, task in each.data_sets(name).items()}
        experiment = next(iter(simulations.values())).experiment  # of one kind all of them
        with open_store(
            checkpoint,
            work,
            origin,
            program(*experiment.modules),
            total=len(tasks),
            width=experiment.width,
            fresh=fresh,
            resume_anyway=resume_anyway,
        ) as store:
            run(tasks, experiment.evaluate, store=store, engine=engine, progress=progress, say=say)
            return [each.gathered(store.done, name, store.programs) for name, each in simulations.items()]


_LIMITED = ("label_noise", "ridge", "temperature", "test_context_length")


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


def _refuse_memory(simulation: Simulation, workers: int) -> None:
    largest, data_sets = simulation.sizes[-1], len(simulation.sizes) * simulation.samples
    results = 3 * 8 * data_sets * len(simulation.quantities)
    check_memory(
        workers * simulation.experiment.memory(largest) + results,
        what=f"{len(simulation.sizes)} x {simulation.samples} samples up to dimension {largest.dimension} with "
        f"{largest.prompts} prompts on {workers} workers",
        remedy="use smaller dimensions, fewer samples or fewer workers",
    )
