"""``iclglass instance --blocks``: means of one data set whose prompts no machine holds."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iclglass.instance_command import finite_theory, named, print_text
from iclglass.numerics.errors import ParameterError
from iclglass.output import DONE, NOT_CONVERGED, print_json, say

__all__ = ["run"]

_NEEDED = ("dimension", "context", "prompts")
_TRIES = 4
"""Of a task whose worker died: a block is small, and no block kills."""
_IN_MEMORY = ("data", "save_data", "float32", "damping", "plot")


def run(values: Mapping[str, Any]) -> int:
    """Solve for the means by map-reduce over blocks of prompts; print and write what was asked for."""
    import numpy as np

    from iclglass.data_set import drawn_layer
    from iclglass.numerics.fixed_point import Status
    from iclglass.numerics.instance.distributed import solve_distributed
    from iclglass.numerics.instance.storage import load_solution, save_solution
    from iclglass.numerics.running.engines import engine_name, make_engine
    from iclglass.numerics.running.executor import EngineExecutor
    from iclglass.numerics.running.store import checkpoint_path
    from iclglass.numerics.storage import check_writable
    from iclglass.progress import bar
    from iclglass.validation.prompt_blocks import PromptBlocks, measure_blocks

    _check(values)
    checkpoint = None
    if values["out"] is not None:
        check_writable(values["out"], force=values["force"] or False)
        checkpoint = checkpoint_path(values["out"])
        if checkpoint.exists() and not values["force"]:
            say(f"going on from {checkpoint}")
    law = {
        "context": values["context"],
        "label_noise": values["label_noise"] or 0.0,
        "norm": values["norm"] or "N",
        **drawn_layer(values).to_dict(),
    }
    sizes = {name: values[name] for name in ("dimension", "prompts")}
    source = PromptBlocks(**sizes, **law, seed=values["seed"])
    options = {name: values[name] for name in ("ridge0", "beta")}
    limits = {name: values[name] for name in ("tolerance", "max_iterations") if values[name] is not None}
    probes = values["probes"] or 0
    initial = None if values["start"] is None else load_solution(values["start"])
    engine_of = make_engine(engine_name(values["dask"]), workers=values["workers"], tries=_TRIES)
    with engine_of as engine, bar("steps") as advance:
        workers = EngineExecutor(engine, say)
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
            fresh=values["force"] or False,
            resume_anyway=values["resume_anyway"] or False,
            progress=lambda done, residual: advance(done, total or done),
        )
        # Means that did not converge are kept too: the same command goes on from them with --start.
        quantities = measure_blocks(source, solution.mean[:, :-1], executor=workers)
    quantities.pop("e_idg")  # tasks of their own: it is e_icl
    parameters = {**sizes, **law, "seed": values["seed"], **options, **limits, "blocks": source.blocks}
    status = Status(int(solution.status))
    theory = finite_theory(source.dimension, source.prompts, law, values)
    diagnostics = {"iterations": solution.iterations, "residual": solution.residual}
    if values["json"]:
        record = {"parameters": parameters, **quantities, "theory": theory, **diagnostics}
        print_json({**record, "status": named(status), "reason": solution.reason})
    else:
        print_text(parameters, quantities, theory, diagnostics)
        print(f"{'status':16s} {named(status)}")
        print(f"{'reason':16s} {solution.reason}")
    if values["out"] is not None:
        save_solution(
            solution, values["out"], parameters=parameters, seed=values["seed"], force=values["force"] or False
        )
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        print(f"wrote {values['out']}", file=sys.stderr)
    return DONE if status == Status.CONVERGED else NOT_CONVERGED


def _check(values: Mapping[str, Any]) -> None:
    unused = [f"--{name.replace('_', '-')}" for name in _IN_MEMORY if values[name] not in (None, False)]
    if unused:
        raise ParameterError(f"{', '.join(unused)} needs the data set in memory: leave it out with --blocks")
    for name in _NEEDED:
        if values[name] is None:
            raise ParameterError(f"--{name} is required with --blocks, which draws its prompts")
    if values["method"] not in (None, "exact"):
        raise ParameterError("--blocks solves by conjugate gradients (method exact): leave --method out")
    if values["out"] is not None and Path(values["out"]).suffix != ".nc":
        raise ParameterError(f"--out {values['out']} is the netCDF file of the solution: its name must end in .nc")
