"""``iclglass baselines``: Bayes estimators on the prompts that attention sees."""

from collections.abc import Mapping
from typing import Any

from iclglass.cli.kinds import GRID, INTEGER
from iclglass.cli.options import JSON, SEED, command, finite_size, option, parameters, theory
from iclglass.cli.output import EXIT_DONE, print_json

__all__ = ["baselines", "drawn_beside"]

_AXES = ("context_length", "test_context_length", "distinct_tasks", "label_noise", "dimension")


@command(
    *parameters(GRID, False),
    *finite_size(GRID),
    option("--samples", INTEGER, "pools drawn for dmmse at finite D, >= 2", default=64),
    SEED,
    JSON,
    example="iclglass baselines --alpha 0.5:4:8 --kappa 2 --rho 0.1 --dimension 16",
)
def baselines(**values: Any) -> int:
    """Bayes estimators: who knows law, or pool, of tasks.

    ridge knows the law, dmmse the pool. e_icl is the squared error on new tasks, e_idg on tasks of the pool; over the
    product of all grids.
    """
    import numpy as np

    from iclglass.numerics.errors import ParameterError
    from iclglass.numerics.sweep import product
    from iclglass.validation.baselines.baselines import baselines

    law = {name: value for name, value in theory(values).items() if value is not None}
    if "context_length" not in law:
        raise ParameterError("--context-length is required: context length N/D")
    # What changes nothing needs no grid.
    law = {name: value for name, value in law.items() if name in _AXES or not np.ndim(value)}
    axes, grid = product({"task_diversity": 1.0, **law})
    found = baselines(**grid.fields(), samples=values["samples"], seed=values["seed"])
    grids = {name: getattr(grid, name) for name in axes}
    if values["json"]:
        plain = {
            name: {key: np.asarray(array).tolist() for key, array in one.items()}
            for name, one in found.to_dict().items()
        }
        # JSON has no infinity, and null would read as 'does not exist'.
        shown: dict[str, Any] = {name: law[name] for name in _AXES if name in law and name not in axes}
        shown = {name: "inf" if value == np.inf else value for name, value in shown.items()}
        shown |= {name: array.reshape(-1).tolist() for name, array in grids.items()}
        print_json({"parameters": shown, "axes": list(axes), "shape": list(found.parameters.shape), **plain})
        return EXIT_DONE
    names = [(estimator, quantity) for estimator in ("ridge", "dmmse") for quantity in ("e_icl", "e_idg")]
    print("  ".join([f"{name:>19s}" for name in axes] + [f"{f'{one} {quantity}':>22s}" for one, quantity in names]))
    for point in range(int(np.prod(found.parameters.shape))):
        cells = [f"{grids[name].reshape(-1)[point]:19.6g}" for name in axes]
        for one, quantity in names:
            value, error = (
                np.reshape(getattr(getattr(found, one), key), -1)[point]
                for key in (quantity, f"{quantity}_standard_error")
            )
            cells.append(f"{f'{value:.6g}' + (f' +- {error:.2g}' if error else ''):>22s}")
        print("  ".join(cells))
    return EXIT_DONE


def drawn_beside(law: Mapping[str, Any], observable: str) -> dict[str, Any]:
    """The baselines of a sweep over one axis, as lines beside its curve: label -> values.

    Raises
    ------
    ParameterError
        Another quantity than e_icl and e_idg, more axes than one, or a model that they are not of.
    """
    import numpy as np

    from iclglass.numerics.errors import ParameterError
    from iclglass.numerics.sweep import product
    from iclglass.validation.baselines.baselines import baselines

    if observable not in ("e_icl", "e_idg"):
        raise ParameterError(f"--baselines has e_icl and e_idg, not {observable}: choose one with --observable")
    axes, grid = product(law)
    if len(axes) != 1:
        raise ParameterError(f"--baselines are lines beside a curve over one axis, not {len(axes)}")
    found = baselines(**grid.fields())
    lines = {"ridge (knows the law of tasks)": getattr(found.ridge, observable)}
    if np.isfinite(grid.distinct_tasks).any():
        lines["dMMSE (knows the pool)"] = getattr(found.dmmse, observable)
    return lines
