"""All sections of golden values, with what they may differ by and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.golden import data_sets, simulations, theory
from tests.golden.compare import Tolerance
from tests.golden.table import Table

__all__ = ["JSON", "JSON_OF_FORMULAS", "SECTIONS", "Section"]

# How far rounding alone goes was measured by recomputing all with the linear algebra of an older processor
# (OPENBLAS_CORETYPE=Nehalem) and without vector instructions in NumPy (NPY_DISABLE_CPU_FEATURES); "moved" is the
# largest change seen, in units of |value| + 1.

FORMULA = Tolerance(relative=1e-12, absolute=1e-14)
"""Closed forms and iterations that converge to rounding; moved 7e-14."""

ROOT = Tolerance(relative=1e-11, absolute=1e-14)
"""Vertices of lines, roots found between grid points; moved 9e-13."""

FLAT = Tolerance(relative=1e-9, absolute=1e-14)
"""The place of a minimum, found where a derivative vanishes: rounding moves it by as much over the curvature, which is
small where the best ridge is large; moved 2e-11."""

STOPPED = Tolerance(relative=1e-11, absolute=1e-14)
"""Iterations on data that stop at a relative residual of 1e-12, a step sooner or later by rounding; moved 1e-15, as
every one stopped at the same step."""

SEEDED = Tolerance(relative=1e-9, absolute=1e-13)
"""Simulations: the same random numbers, but linear algebra of small matrices, accept steps and learning steps behind
one another, each of which rounds otherwise on another processor and passes it on; moved 5e-15."""

ROUNDING = Tolerance(relative=0.0, absolute=1e-10)
"""Residuals and what is estimated from them are rounding; `solve` itself refuses them from 1e-10 on."""

JSON = Tolerance(relative=1e-9, absolute=1e-13)
"""Numbers of commands, most of them simulations: as `SEEDED`."""

JSON_OF_FORMULAS = Tolerance(relative=1e-12, absolute=1e-14)
"""Numbers of `solve`."""


@dataclass(frozen=True)
class Section:
    """compute : the present table.    tolerance : of its quantities, but for those that have one of their own."""

    compute: Callable[[], Table]
    tolerance: Tolerance
    own: Mapping[str, Tolerance] = field(default_factory=dict)


_SOLVED = {"residual": ROUNDING, "error_bound": ROUNDING}

SECTIONS = {
    "solve": Section(theory.solve, FORMULA, _SOLVED),
    "finite_size": Section(theory.finite_size, FORMULA, _SOLVED),
    "learning_curve": Section(theory.learning_curve, FORMULA),
    "stopping_time": Section(theory.stopping_time, FORMULA),
    "state_evolution": Section(theory.state_evolution, FORMULA),
    "best_ridge": Section(theory.best_ridge, FLAT),
    "lines": Section(theory.lines, ROOT),
    "sweep": Section(theory.sweep, FORMULA, _SOLVED),
    "digits": Section(theory.digits, FORMULA),
    "instances": Section(data_sets.instances, STOPPED),
    "samples": Section(data_sets.samples, SEEDED),
    "training": Section(data_sets.training, SEEDED),
    "validations": Section(simulations.validations, SEEDED),
    "sweeps": Section(simulations.sweeps, SEEDED),
}
