"""``iclglass instance``: the Boltzmann measure of one data set, drawn or the user's own."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iclglass.cli.blocks import solve_blocks
from iclglass.cli.data_set import BETA, DATA_SET, RIDGE0, data_set
from iclglass.cli.kinds import FILE, INTEGER, NUMBER, TEXT
from iclglass.cli.options import ANYWAY, FORCE, JSON, command, given, option, some, switch
from iclglass.cli.output import EXIT_DONE, EXIT_NOT_CONVERGED, check_outputs, print_json, say, say_written
from iclglass.cli.solution import named, print_solution
from iclglass.numerics.errors import ParameterError

if TYPE_CHECKING:
    from iclglass.numerics.instance.data import Instance
    from iclglass.numerics.instance.solution import InstanceSolution

__all__ = ["instance"]


@command(
    *DATA_SET,
    RIDGE0,
    BETA,
    option("--method METHOD", TEXT, "gamp, exact, tap or published", default="gamp"),
    option("--tolerance", NUMBER, "largest relative residual (default: the method's)"),
    option("--max-iterations", INTEGER, "most steps (default: the method's)"),
    option("--damping", NUMBER, "part of the old message kept, 0 <= d < 1 (default: the method's)"),
    option(
        "--probes",
        INTEGER,
        "random probes for the variances of method exact at more than 4000 spins; 0: means only (default: 16)",
    ),
    switch("--float32", "hold the data in single precision: half the memory while solving"),
    switch("--blocks", "draw the prompts in blocks where they are used, so that no machine holds them all; means only"),
    option("--workers", INTEGER, "with --blocks: processes; the result does not depend on it"),
    option("--dask local|ADDRESS", TEXT, "with --blocks: a Dask cluster on this machine, or that of a scheduler"),
    option("--start FILE.nc", FILE, "with --blocks: a solution written before, to go on from"),
    switch("--resume-anyway", f"with --blocks: {ANYWAY.help}"),
    option(
        "--out FILE.nc",
        FILE,
        "netCDF file of means and variances to write; with --blocks an unfinished solve is kept beside it",
    ),
    option("--plot FILE.png", FILE, "picture to write: means, variances, convergence"),
    option("--save-data FILE.npz|.nc", FILE, "file to write the data set to"),
    FORCE,
    JSON,
    example="iclglass instance --dimension 20 --context 100 --prompts 10000 --ridge0 0.01 --beta 100",
)
def instance(**values: Any) -> int:
    """One data set: means and variances of its Boltzmann measure.

    In SG's unscaled parameters; drawn, or your own, and beside it the finite-size theory of what was drawn.
    """
    if values["blocks"]:
        return solve_blocks(values)
    if unused := given("workers", "dask", "start", "resume_anyway"):
        raise ParameterError(f"{', '.join(unused)} needs --blocks: in memory a data set is solved by one process")
    import numpy as np

    from iclglass.numerics.arguments import check_real
    from iclglass.numerics.instance.predictions import contrast, overlaps, train_error
    from iclglass.numerics.instance.solve import solve_instance
    from iclglass.numerics.status import Status
    from iclglass.validation.population import population_error

    check_real("ridge0", values["ridge0"], minimum=0.0)
    check_real("beta", values["beta"], minimum=0.0, above=True)
    check_outputs(values, {"out": (".nc",), "save_data": (".npz", ".nc")})
    source = data_set(values)
    moments = source.moments()
    instance = source.instance.as_float32() if values["float32"] else source.instance
    options = some(values, ("ridge0", "beta", "tolerance", "max_iterations", "damping", "probes", "method"))
    # Not the stream the data were drawn from: starts and probes must be independent of them.
    rng = np.random.default_rng([values["seed"], 1]) if options["method"] in ("exact", "published") else None
    solution = solve_instance(instance, **options, rng=rng)

    weights = solution.mean[:, :-1]
    order = overlaps(solution)
    quantities = {
        **{name: getattr(order, name) for name in ("m", "q", "q_self", "uniqueness")},
        "contrast": contrast(solution),
        "e_train": train_error(instance, weights),
        "e_icl": math.nan if moments is None else population_error(weights, moments),
        "free_energy": solution.free_energy,
        "log_partition": solution.log_partition,
    }
    diagnostics = {name: getattr(solution, name) for name in ("iterations", "residual", "spectral_radius")}
    parameters = {**source.parameters, **options, "precision": "float32" if values["float32"] else "float64"}
    theory = source.theory(ridge0=values["ridge0"], beta=values["beta"])
    status = Status(int(solution.status))
    if values["json"]:
        record = {"parameters": parameters, **quantities, "theory": theory, **diagnostics}
        print_json({**record, "status": named(status), "reason": solution.reason})
    else:
        print_solution(parameters, quantities, theory, diagnostics, status, solution.reason)
    _write(instance, solution, parameters, values)
    return EXIT_DONE if status == Status.CONVERGED else EXIT_NOT_CONVERGED


def _write(
    instance: "Instance", solution: "InstanceSolution", parameters: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    import numpy as np

    more: dict[str, Any] = {"parameters": parameters, "seed": parameters.get("seed"), "force": values["force"]}
    if values["save_data"] is not None:
        from iclglass.numerics.instance.storage import save_instance

        save_instance(instance, values["save_data"], **more)
    if values["out"] is not None:
        from iclglass.numerics.instance.storage import save_solution

        save_solution(solution, values["out"], **more)
    picture = values["plot"]
    if picture is not None and not np.isfinite(solution.mean).all():
        say(f"no picture: {solution.reason}")
        picture = None
    if picture is not None:
        from iclglass.numerics.plotting import draw_solution, save_figure

        save_figure(draw_solution(solution), picture, force=values["force"])
    say_written(values["save_data"], values["out"], picture)
