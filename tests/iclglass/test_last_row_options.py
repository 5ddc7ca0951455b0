"""--last-feature and --no-last-row: what every command computes with them, reports and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

import iclglass
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.storage import PROVENANCE
from iclglass.validation.observables import measure
from tests.iclglass.conftest import refused

DONE, USAGE, DISAGREE, FILE = 0, 2, 4, 5
LAYERS = (
    ("", {}),
    ("--last-feature scaled-tokens", {"last_feature": "scaled-tokens"}),
    ("--no-last-row", {"last_row": False}),
)
POINT = "--tau 2 --alpha 1"
SIZES = "--dimension 6 --context 12 --prompts 200 --seed 3"


def reported(layer):
    return {"last_feature": "unit-tokens", "last_row": True} | layer


def part(parameters):
    return {name: parameters[name] for name in ("last_feature", "last_row")}


def in_file(path):
    return part(json.loads(iclglass.load(path).attrs[PROVENANCE])["parameters"])


def drawn(layer):
    return iclglass.draw_prompts(dimension=6, context=12, prompts=200, **layer, rng=np.random.default_rng(3))


pytestmark = pytest.mark.parametrize(("flags", "layer"), LAYERS)


def test_solve_at_a_dimension(run, flags, layer):
    line = f"solve {POINT} --dimension 8 {flags}"
    code, out, _ = run(f"{line} --json")
    record = json.loads(out)
    assert (code, part(record["parameters"])) == (DONE, reported(layer))
    assert record["e_icl"] == float(solve_finite(task_diversity=2.0, context_length=1.0, dimension=8, **layer).e_icl)
    assert f"last_row             {layer.get('last_row', True)}\n" in run(line)[1]


def test_grids_and_their_files(run, flags, layer):
    axes = "--tau 0.8:1.5:2 --alpha 1:2:2 --dimension 6"
    for name, command in {"a.nc": "sweep", "b.nc": "sweep --simulate --samples 2", "c.nc": "phase-diagram"}.items():
        assert run(f"{command} {axes} {flags} --out {name}")[0] == DONE
        assert in_file(name) == reported(layer), name
    theory = iclglass.load("a.nc").e_icl.values
    assert np.allclose(iclglass.load("b.nc").e_icl_theory.values, theory, rtol=1e-9)
    assert np.allclose(iclglass.load("c.nc").line_x, 1.0 if layer.get("last_row") is False else 1 + 1 / 6)
    # another layer is another sweep
    other = "" if flags else LAYERS[1][0]
    refused(run, f"sweep --simulate --samples 2 {axes} {other} --out b.nc", FILE, "exists")


def test_one_data_set(run, flags, layer):
    solved = "--ridge0 0.02 --beta 50 --json"
    code, out, _ = run(f"instance {SIZES} {solved} {flags} --out s.nc --save-data d.nc")
    record, expected = json.loads(out), measure(drawn(layer), ridge=6 * 0.02, temperature=36 / 50)
    assert (code, part(record["parameters"])) == (DONE, reported(layer))
    for name in ("m", "q", "contrast", "e_train", "e_icl"):
        assert record[name] == pytest.approx(getattr(expected, name), rel=1e-8), name
    scaled = {"dimension": 6, "task_diversity": 200 / 36, "context_length": 2.0, "ridge": 0.12}
    theory = solve_finite(**scaled, temperature=0.72, **layer)
    assert record["theory"]["e_icl"] == pytest.approx(float(theory.e_icl), rel=1e-12)
    assert in_file("s.nc") == in_file("d.nc") == reported(layer)
    assert np.array_equal(iclglass.load_instance("d.nc").context, drawn(layer).context)
    rows = 6 if layer.get("last_row") is False else 7
    assert iclglass.load_solution("s.nc").mean.shape == (rows, 7)
    # Read back, contexts say themselves whether there is a last row, the file what the last feature was.
    again = json.loads(run(f"instance --data d.nc {solved}")[1])
    assert part(again["parameters"]) == reported(layer)
    assert (again["m"], again["free_energy"]) == (record["m"], record["free_energy"])
    blocks = json.loads(run(f"instance --blocks {SIZES} {solved} {flags}")[1])
    assert part(blocks["parameters"]) == reported(layer)
    trained = json.loads(run(f"train {SIZES} --ridge0 0.02 {flags} --json --steps 200 --learning-rate 0.1")[1])
    assert part(trained["parameters"]) == reported(layer)
    assert trained["theory"]["e_icl"] == pytest.approx(float(solve_finite(**scaled, **layer).e_icl), rel=1e-12)
    code, out, _ = run(f"sample {SIZES} {solved} {flags} --draws 200 --out w.nc")
    assert (code, part(json.loads(out)["parameters"]), in_file("w.nc")) == (DONE, reported(layer), reported(layer))
    assert iclglass.load("w.nc").sizes["row"] == rows


def test_validate_reports_its_layer(run, flags, layer):
    line = f"validate {POINT} --dimension 6,8 --samples 4"
    code, out, _ = run(f"{line} {flags} --json")
    assert code in (DONE, DISAGREE, 6)
    assert part(json.loads(out)) == reported(layer)
    assert part(json.loads(Path("iclglass-validation/validation.json").read_text(encoding="utf-8"))) == reported(layer)
    # samples of one layer are not continued as those of another
    code, _, err = run(f"{line} {'' if flags else LAYERS[1][0]}")
    assert code in (USAGE, FILE), err
    assert "samples.checkpoint" in err


def test_tokens_of_ones_own(run, flags, layer):
    rng = np.random.default_rng(4)
    shapes = {"tokens": (60, 9, 5), "labels": (60, 9), "query": (60, 5), "label": 60}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez("tokens.npz", **arrays)
    code, out, _ = run(f"instance --data tokens.npz --ridge0 0.1 --beta 5 {flags} --json --norm N+1")
    record = json.loads(out)
    assert (code, part(record["parameters"]), record["parameters"]["norm"]) == (DONE, reported(layer), "N+1")
    data = iclglass.Instance.from_tokens(*arrays.values(), norm="N+1", **layer)
    assert record["m"] == iclglass.overlaps(iclglass.solve_instance(data, ridge0=0.1, beta=5.0, method="gamp")).m
    assert np.array_equal(iclglass.load_instance("tokens.npz", norm="N+1", **layer).context, data.context)
    np.savez("contexts.npz", context=data.context, query=data.query, label=data.label)
    with pytest.raises(ParameterError, match="last feature is built already: leave last_feature and last_row out"):
        iclglass.load_instance("contexts.npz", last_feature="scaled-tokens", last_row=True)
    np.savez("narrow.npz", context=data.context[:, :3], query=data.query, label=data.label)
    with pytest.raises(OutputError, match=r"want context \(P, D\+1 or D\)"):
        iclglass.load_instance("narrow.npz")


def test_what_has_no_meaning_is_refused(run, flags, layer):
    if layer:
        name, value = next(iter(layer.items()))
        for command in ("solve", "solve --digits 20", "sweep --out a.nc", "sweep --simulate theory --out a.nc"):
            message = f"{name} = {value!r} has no meaning at D -> infinity"
            refused(run, f"{command} {POINT} {flags}", USAGE, message)
    drawing = f"{SIZES} --ridge0 0.1"
    for command in (
        *(f"solve {POINT} --dimension 8", f"validate {POINT}", f"instance {drawing} --beta 5"),
        *(f"sample {drawing} --beta 5", f"train {drawing} --steps 2 --learning-rate 1"),
    ):
        refused(run, f"{command} --last-feature tokens", USAGE, "must be one of unit-tokens, scaled-tokens")
        refused(run, f"{command} --no-last-row --last-feature scaled-tokens", USAGE, "has no last feature")
