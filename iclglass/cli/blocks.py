"""``iclglass instance --blocks``: means of one data set whose prompts no machine holds."""

from collections.abc import Mapping
from typing import Any

from iclglass.cli.data_set import drawn, finite_theory
from iclglass.cli.options import engine, given, some
from iclglass.cli.output import EXIT_DONE, EXIT_NOT_CONVERGED, check_outputs, print_json, say, say_written
from iclglass.cli.progress import bar
from iclglass.cli.solution import named, print_solution
from iclglass.numerics.errors import ParameterError

__all__ = ["solve_blocks"]

_TRIES = 4
"""Of a task whose worker died: a block is small, and no block kills."""
_IN_MEMORY = ("data", "save_data", "float32", "damping", "plot")


def solve_blocks(values: Mapping[str, Any]) -> int:
    """Solve for the means by map-reduce over blocks of prompts; print and write what was asked for."""
    import numpy as np

    from iclglass.numerics.instance.distributed import solve_distributed
    from iclglass.numerics.instance.storage import load_solution, save_solution
    from iclglass.numerics.running.engines import make_engine
    from iclglass.numerics.running.executor import EngineExecutor
    from iclglass.numerics.running.store import checkpoint_path
    from iclglass.numerics.status import Status
    from iclglass.validation.prompt_blocks import PromptBlocks, measure_blocks

    if unused := given(*_IN_MEMORY):
        raise ParameterError(f"{', '.join(unused)} needs the data set in memory: leave it out with --blocks")
    if given("method") and values["method"] != "exact":
        raise ParameterError("--blocks solves by conjugate gradients (method exact): leave --method out")
    check_outputs(values, {"out": (".nc",)})
    checkpoint = None if values["out"] is None else checkpoint_path(values["out"])
    if checkpoint is not None and checkpoint.exists() and not values["force"]:
        say(f"going on from {checkpoint}")
    sizes, law = drawn(values)
    source = PromptBlocks(**sizes | law, seed=values["seed"])
    options = {name: values[name] for name in ("ridge0", "beta")}
    limits = some(values, ("tolerance", "max_iterations"))
    probes = values["probes"] or 0
    initial = None if values["start"] is None else load_solution(values["start"])
    engine_of = make_engine(**engine(values), tries=_TRIES)
    with engine_of as running, bar("steps") as advance:
        workers = EngineExecutor(running, say)
        total = limits.get("max_iterations")
        solution = solve_distributed(
            source,
            **options,
            **limits,
            probes=probes,
            # Not the stream of the prompts: probes must be independent of them.
            rng=np.random.default_rng([values["seed"], 1]) if probes else None,
            initial=initial,
            executor=workers,
            checkpoint=checkpoint,
            fresh=values["force"],
            resume_anyway=values["resume_anyway"],
            progress=lambda done, residual: advance(done, total or done),
        )
        # Means that did not converge are kept too: the same command goes on from them with --start.
        quantities = measure_blocks(source, solution.mean[:, :-1], executor=workers)
    quantities.pop("e_idg")  # tasks of their own: it is e_icl
    parameters = {**sizes, **law, "seed": values["seed"], **options, **limits, "blocks": source.blocks}
    status = Status(int(solution.status))
    theory = finite_theory(source.dimension, source.prompts, law, **options)
    diagnostics = {"iterations": solution.iterations, "residual": solution.residual}
    if values["json"]:
        record = {"parameters": parameters, **quantities, "theory": theory, **diagnostics}
        print_json({**record, "status": named(status), "reason": solution.reason})
    else:
        print_solution(parameters, quantities, theory, diagnostics, status, solution.reason)
    if values["out"] is not None:
        save_solution(solution, values["out"], parameters=parameters, seed=values["seed"], force=values["force"])
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    say_written(values["out"])
    return EXIT_DONE if status == Status.CONVERGED else EXIT_NOT_CONVERGED
