"""``iclglass sample``: draws from the Boltzmann measure of one data set, beside what is known of it exactly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from iclglass.cli.data_set import BETA, DATA_SET, RIDGE0, data_set
from iclglass.cli.kinds import FILE, INTEGER, NUMBER, TEXT
from iclglass.cli.options import FORCE, JSON, command, option, some
from iclglass.cli.output import EXIT_DONE, EXIT_NOT_CONVERGED, check_outputs, print_json, print_parameters, say_written
from iclglass.cli.progress import bar

if TYPE_CHECKING:
    from iclglass.validation.samplers.checks import Check
    from iclglass.validation.samplers.diagnostics import Diagnostic
    from iclglass.validation.samplers.sampling import Samples

__all__ = ["sample"]

_SAMPLED = ("ridge0", "beta", "method", "draws", "chains", "warmup", "step", "thin")


@command(
    *DATA_SET,
    RIDGE0,
    BETA,
    option("--method METHOD", TEXT, "exact, heat-bath, langevin, mala or hmc", default="exact"),
    option("--draws", INTEGER, "draws of each chain, >= 4", default=1000),
    option("--chains", INTEGER, "independent chains, >= 2", default=4),
    option("--warmup", INTEGER, "steps before the first draw (default: from the spectrum)"),
    option("--thin", INTEGER, "steps from one draw to the next (default: from the spectrum)"),
    option("--step", NUMBER, "step of langevin, mala, hmc (default: from the spectrum)"),
    option("--out FILE.nc", FILE, "netCDF file of the draws to write"),
    option("--plot FILE.png", FILE, "picture to write: energies and their exact law, overlaps"),
    FORCE,
    JSON,
    example="iclglass sample --dimension 10 --context 50 --prompts 200 --ridge0 0.01 --beta 1000 --method hmc",
)
def sample(**values: Any) -> int:
    """Draws from the Boltzmann measure of one data set.

    Beside what is known of it exactly; exit code 3 where the chains disagree with each other or with that.
    """
    import numpy as np

    from iclglass.numerics.arguments import check_count, check_real
    from iclglass.validation.samplers.checks import check_law
    from iclglass.validation.samplers.diagnostics import diagnose
    from iclglass.validation.samplers.law import boltzmann_law
    from iclglass.validation.samplers.sampling import sample

    check_real("ridge0", values["ridge0"], minimum=0.0)
    check_real("beta", values["beta"], minimum=0.0, above=True)
    check_count("chains", values["chains"], minimum=2, reason="R-hat compares chains")
    check_count("draws", values["draws"], minimum=4, reason="R-hat compares halves of chains")
    check_outputs(values, {"out": (".nc",)})
    found = data_set(values)
    instance = found.instance
    options = some(values, _SAMPLED)
    # Another stream than that of the data set, which is drawn from the seed itself.
    rng = np.random.default_rng([values["seed"], 1])
    with bar("sampling") as progress:
        samples = sample(instance, **options, rng=rng, progress=progress)
    diagnostics = diagnose(samples)
    law = boltzmann_law(instance, ridge0=values["ridge0"], beta=values["beta"])
    checks = check_law(samples, law)
    reasons = _reasons(samples, diagnostics, checks)
    parameters = {**found.parameters, **options}
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
    return EXIT_NOT_CONVERGED if reasons else EXIT_DONE


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


def _print_text(
    parameters: Mapping[str, Any], acceptance: float, diagnostics: Sequence["Diagnostic"], checks: Sequence["Check"]
) -> None:
    print_parameters(parameters)
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
    force = values["force"]
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
    say_written(values["out"], values["plot"])
