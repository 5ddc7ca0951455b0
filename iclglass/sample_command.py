"""``iclglass sample``: draws from the Boltzmann measure of one data set, beside what is known of it exactly."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.errors import ParameterError
from iclglass.output import DONE, NOT_CONVERGED, print_json

if TYPE_CHECKING:
    from iclglass.validation.samplers.checks import Check
    from iclglass.validation.samplers.diagnostics import Diagnostic
    from iclglass.validation.samplers.sampling import Samples

__all__ = ["run"]


def run(values: Mapping[str, Any]) -> int:
    """Draw or read the data set, sample its measure, print diagnostics and comparisons, write what was asked for."""
    import numpy as np

    from iclglass.data_set import data_set
    from iclglass.numerics.arguments import check_count, check_real
    from iclglass.progress import bar
    from iclglass.validation.samplers.checks import check_law
    from iclglass.validation.samplers.diagnostics import diagnose
    from iclglass.validation.samplers.law import boltzmann_law
    from iclglass.validation.samplers.sampling import sample

    check_real("ridge0", values["ridge0"], minimum=0.0)
    check_real("beta", values["beta"], minimum=0.0, above=True)
    check_count("chains", values["chains"], minimum=2, reason="R-hat compares chains")
    check_count("draws", values["draws"], minimum=4, reason="R-hat compares halves of chains")
    _check_outputs(values)
    found = data_set(values)
    instance = found.instance
    options = {name: values[name] for name in ("ridge0", "beta", "method", "draws", "chains", "warmup", "step", "thin")}
    # Another stream than that of the data set, which is drawn from the seed itself.
    rng = np.random.default_rng([values["seed"], 1])
    with bar("sampling") as progress:
        samples = sample(instance, **options, rng=rng, progress=progress)
    diagnostics = diagnose(samples)
    law = boltzmann_law(instance, ridge0=values["ridge0"], beta=values["beta"])
    checks = check_law(samples, law)
    reasons = _reasons(samples, diagnostics, checks)
    parameters = {**found.parameters, **{name: value for name, value in options.items() if value is not None}}
    parameters |= {"warmup": samples.warmup, "thin": samples.thin}
    for name in ("step", "bound"):
        if math.isfinite(getattr(samples, name)):
            parameters[name] = getattr(samples, name)
    if samples.trajectory:
        parameters["trajectory"] = samples.trajectory
    acceptance = float(np.mean(samples.acceptance))
    if values["json"]:
        print_json(
            {
                "parameters": parameters,
                "acceptance": acceptance,
                "ground_energy": law.ground_energy,
                "diagnostics": [asdict(row) for row in diagnostics],
                "checks": [{**asdict(row), "passed": row.passed} for row in checks],
                "converged": not reasons,
                "reason": "; ".join(reasons) or "the chains agree with each other and with the exact law",
            }
        )
    else:
        _print_text(parameters, acceptance, diagnostics, checks)
        print()
        for reason in reasons or ["the chains agree with each other and with the exact law"]:
            print(reason)
    _write(samples, law, parameters, values)
    return NOT_CONVERGED if reasons else DONE


def _reasons(samples: "Samples", diagnostics: Sequence["Diagnostic"], checks: Sequence["Check"]) -> list[str]:
    """Why the draws are not to be trusted; empty where nothing speaks against them."""
    from iclglass.validation.samplers.checks import EQUIPARTITION, FALSE_ALARM
    from iclglass.validation.samplers.diagnostics import MAXIMUM_R_HAT

    reasons = []
    for row in diagnostics:
        if not row.r_hat <= MAXIMUM_R_HAT:
            reasons.append(
                f"not converged: R-hat of {row.name} is {row.r_hat:.4f}, above {MAXIMUM_R_HAT}; take more draws or a "
                "longer warm-up"
            )
    failed = [check for check in checks if not check.passed]
    for check in failed:
        law = ", equipartition is violated" if check.name == EQUIPARTITION else ""
        reasons.append(
            f"not the Boltzmann measure: {check.name} is {check.estimate:.6g}, exactly {check.exact:.6g}, "
            f"z = {check.z:+.1f} beyond {check.threshold:.2f} (false alarms: {FALSE_ALARM:.0%} of correct runs){law}"
        )
    if failed and samples.method == "langevin":
        reasons.append("unadjusted Langevin steps have a bias of order step: take a smaller one, or mala")
    return reasons


def _check_outputs(values: Mapping[str, Any]) -> None:
    """Refuse unwritable outputs before any work."""
    from iclglass.numerics.plotting import check_picture
    from iclglass.numerics.storage import check_writable

    if values["plot"] is not None:
        check_picture(values["plot"])
    if values["out"] is not None and Path(values["out"]).suffix != ".nc":
        raise ParameterError(f"--out {values['out']} is the netCDF file of the draws: its name must end in .nc")
    for name in ("out", "plot"):
        if values[name] is not None:
            check_writable(values[name], force=values["force"] or False)


def _print_text(
    parameters: Mapping[str, Any], acceptance: float, diagnostics: Sequence["Diagnostic"], checks: Sequence["Check"]
) -> None:
    for name, value in parameters.items():
        print(f"{name:16s} {value if isinstance(value, (str, bool)) else format(value, '.12g')}")
    print(f"{'acceptance':16s} {acceptance:.3f}\n")
    print(f"{'chains':34s} {'mean':>12s} {'mcse':>10s} {'R-hat':>8s} {'ESS bulk':>9s} {'ESS tail':>9s}")
    for row in diagnostics:
        numbers = f"{row.mean:12.6g} {row.mcse:10.2g} {row.r_hat:8.4f} {row.ess_bulk:9.0f} {row.ess_tail:9.0f}"
        print(f"{row.name:34s} {numbers}")
    heading = f"{'estimate':>12s} {'exact':>12s} {'mcse':>10s} {'z':>7s} {'limit':>6s}"
    print(f"\n{'against the exact law':34s} {heading}  smallest bias seen")
    for check in checks:
        numbers = (
            f"{check.estimate:12.6g} {check.exact:12.6g} {check.mcse:10.2g} {check.z:+7.2f} {check.threshold:6.2f}"
        )
        print(f"{check.name:34s} {numbers}  {check.smallest_bias:.2g}")


def _write(samples: "Samples", law: Any, parameters: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    force = values["force"] or False
    if values["out"] is not None:
        import xarray as xr

        from iclglass.numerics.storage import PROVENANCE, provenance, save

        variables: dict[str, Any] = {name: (("chain", "draw"), array) for name, array in samples.observables.items()}
        variables["acceptance"] = (("chain",), samples.acceptance)
        if samples.weights is not None:
            variables["weights"] = (("chain", "draw", "row", "column"), samples.weights)
        origin = {**samples.parameters, **parameters}
        record = provenance(origin, seed=parameters.get("seed"), modules=["iclglass.validation.samplers.sampling"])
        save(xr.Dataset(variables, attrs={"method": samples.method, PROVENANCE: record}), values["out"], force=force)
    if values["plot"] is not None:
        from iclglass.numerics.plotting import draw_samples, save_figure

        save_figure(draw_samples(samples, law), values["plot"], force=force)
    written = [str(values[name]) for name in ("out", "plot") if values[name] is not None]
    if written:
        print(f"wrote {', '.join(written)}", file=sys.stderr)
