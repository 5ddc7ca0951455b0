"""``iclglass instance``: the Boltzmann measure of one data set, drawn or the user's own."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.errors import ParameterError
from iclglass.output import DONE, NOT_CONVERGED, print_json

if TYPE_CHECKING:
    from iclglass.numerics.fixed_point import Status
    from iclglass.numerics.instance.data import Instance
    from iclglass.numerics.instance.solution import InstanceSolution

__all__ = ["finite_theory", "named", "print_text", "run"]

_MEANINGS = {
    "m": "magnetization Tr W / D",
    "q": "overlap of two replicas",
    "q_self": "self-overlap",
    "uniqueness": "q/q_self: 1 when all weights are the same solution",
    "contrast": "contrast ratio",
    "e_train": "squared error on the prompts given",
    "e_icl": "squared error on a new task",
    "free_energy": "-T ln Z/D^2 as in solve, T = D^2/beta",
    "log_partition": "ln Z, flat measure of the active weights",
}


_WITH_BLOCKS = ("workers", "dask", "start", "resume_anyway")


@dataclass(frozen=True)
class _Source:
    """A data set, the parameters to report, and the finite-size theory of its law where there is one."""

    instance: "Instance"
    parameters: Mapping[str, Any]
    theory: Mapping[str, float]
    error: Any


def run(values: Mapping[str, Any]) -> int:
    """Draw or read the data set, solve it, print and write what was asked for."""
    if any(values[name] is not None for name in _WITH_BLOCKS):
        given = [f"--{name.replace('_', '-')}" for name in _WITH_BLOCKS if values[name] is not None]
        raise ParameterError(f"{', '.join(given)} needs --blocks: in memory a data set is solved by one process")
    import numpy as np

    from iclglass.numerics.arguments import check_real
    from iclglass.numerics.fixed_point import Status
    from iclglass.numerics.instance.predictions import contrast, overlaps, train_error
    from iclglass.numerics.instance.solve import solve_instance

    check_real("ridge0", values["ridge0"], minimum=0.0)
    check_real("beta", values["beta"], minimum=0.0, above=True)
    _check_outputs(values)
    source = _source(values)
    if values["float32"]:
        source = replace(source, instance=source.instance.as_float32())
    instance = source.instance
    options = {name: values[name] for name in ("ridge0", "beta", "tolerance", "max_iterations", "damping", "probes")}
    options["method"] = values["method"] or "gamp"
    # Not the stream the data were drawn from: starts and probes must be independent of them.
    rng = np.random.default_rng([values["seed"], 1]) if options["method"] in ("exact", "published") else None
    solution = solve_instance(instance, **options, rng=rng)

    weights = solution.mean[:, :-1]
    order = overlaps(solution)
    quantities = {
        "m": order.m,
        "q": order.q,
        "q_self": order.q_self,
        "uniqueness": order.uniqueness,
        "contrast": contrast(solution),
        "e_train": train_error(instance, weights),
        "e_icl": source.error(weights),
        "free_energy": solution.free_energy,
        "log_partition": solution.log_partition,
    }
    diagnostics = {
        "iterations": solution.iterations,
        "residual": solution.residual,
        "spectral_radius": solution.spectral_radius,
    }
    parameters = {
        **source.parameters,
        **{name: value for name, value in options.items() if value is not None},
        "precision": "float32" if values["float32"] else "float64",
    }
    status = Status(int(solution.status))
    if values["json"]:
        record = {"parameters": parameters, **quantities, "theory": dict(source.theory), **diagnostics}
        print_json({**record, "status": named(status), "reason": solution.reason})
    else:
        print_text(parameters, quantities, source.theory, diagnostics)
        print(f"{'status':16s} {named(status)}")
        print(f"{'reason':16s} {solution.reason}")
    _write(instance, solution, parameters, values)
    return DONE if status == Status.CONVERGED else NOT_CONVERGED


def _check_outputs(values: Mapping[str, Any]) -> None:
    """Refuse unwritable outputs before any work."""
    from iclglass.numerics.plotting import check_picture
    from iclglass.numerics.storage import check_writable

    if values["plot"] is not None:
        check_picture(values["plot"])
    if values["out"] is not None and Path(values["out"]).suffix != ".nc":
        raise ParameterError(f"--out {values['out']} is the netCDF file of the solution: its name must end in .nc")
    if values["save_data"] is not None and Path(values["save_data"]).suffix not in (".npz", ".nc"):
        raise ParameterError(f"--save-data {values['save_data']} must end in .npz or .nc")
    names = [values[name] for name in ("out", "plot", "save_data") if values[name] is not None]
    for path in names:
        check_writable(path, force=values["force"] or False)
    if len({Path(path).resolve() for path in names}) < len(names):
        raise ParameterError("--out, --plot and --save-data must name different files")


def _source(values: Mapping[str, Any]) -> _Source:
    """The data set; the theory and the error on new prompts where its law is known, as it is not for a user's."""
    import numpy as np

    from iclglass.data_set import data_set
    from iclglass.validation.population import gaussian_moments, population_error

    found = data_set(values)
    if found.law is None:
        return _Source(found.instance, found.parameters, {}, lambda weights: float("nan"))
    size = found.instance.dimension
    theory = finite_theory(size, found.instance.prompts, found.law, values)
    moments = gaussian_moments(np.ones(size), **found.law)
    return _Source(found.instance, found.parameters, theory, lambda weights: population_error(weights, moments))


def finite_theory(dimension: int, prompts: int, law: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, float]:
    """The finite-size theory of a data set whose law is known, by quantity; nothing where there is no theory."""
    from iclglass.numerics.finite_size import MINIMUM_DIMENSION, solve_finite
    from iclglass.numerics.sizes import from_unscaled

    if dimension < MINIMUM_DIMENSION:
        return {}
    unscaled = {"prompts": prompts, "context": law["context"], "ridge0": values["ridge0"], "beta": values["beta"]}
    options = {name: value for name, value in law.items() if name != "context"}
    solution = solve_finite(dimension=dimension, **from_unscaled(dimension, **unscaled), **options)
    names = ("m", "q", "q_self", "contrast", "e_train", "e_icl", "free_energy")
    theory = {name: float(getattr(solution, name)) for name in names}
    return theory | {"uniqueness": theory["q"] / theory["q_self"]}


def print_text(
    parameters: Mapping[str, Any],
    quantities: Mapping[str, float],
    theory: Mapping[str, float],
    diagnostics: Mapping[str, float],
) -> None:
    """Parameters, quantities beside their theory, diagnostics."""
    for name, value in parameters.items():
        print(f"{name:16s} {value if isinstance(value, (str, bool)) else format(value, '.12g')}")
    heading = "finite-size theory" if theory else ""
    print(f"\n{'':16s} {'this data set':20s} {heading}".rstrip())
    for name, value in quantities.items():
        expected = f"{theory[name]:.6g}" if name in theory else ""
        print(f"{name:16s} {_number(value, '.10g'):20s} {expected:20s} {_MEANINGS[name]}")
    print()
    for name, value in diagnostics.items():
        print(f"{name:16s} {_number(value, '.3g')}")


def named(status: "Status") -> str:
    """The status without the sentence, which speaks of the saddle point: the solution has its own reason."""
    return status.name.lower().replace("_", " ")


def _number(value: float, form: str) -> str:
    return "-" if value != value else format(value, form)


def _write(
    instance: "Instance", solution: "InstanceSolution", parameters: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    import numpy as np

    force = values["force"] or False
    if values["save_data"] is not None:
        from iclglass.numerics.instance.storage import save_instance

        save_instance(instance, values["save_data"], parameters=parameters, seed=parameters.get("seed"), force=force)
    if values["out"] is not None:
        from iclglass.numerics.instance.storage import save_solution

        save_solution(solution, values["out"], parameters=parameters, seed=parameters.get("seed"), force=force)
    drawn = values["plot"] is not None and bool(np.isfinite(solution.mean).all())
    if drawn:
        from iclglass.numerics.plotting import draw_solution, save_figure

        save_figure(draw_solution(solution), values["plot"], force=force)
    elif values["plot"] is not None:
        print(f"iclglass: no picture: {solution.reason}", file=sys.stderr)
    written = [str(values[name]) for name in ("save_data", "out") if values[name] is not None]
    written += [str(values["plot"])] if drawn else []
    if written:
        print(f"wrote {', '.join(written)}", file=sys.stderr)
