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

DONE, USAGE, DISAGREE, FILE = 0, 2, 4, 5
LAYERS = (
    ([], {}),
    (["--last-feature", "scaled-tokens"], {"last_feature": "scaled-tokens"}),
    (["--no-last-row"], {"last_row": False}),
)
SIZES = ["--dimension", "6", "--context", "12", "--prompts", "200", "--seed", "3"]


def reported(layer):
    return {"last_feature": "unit-tokens", "last_row": True} | layer


def part(parameters):
    return {name: parameters[name] for name in ("last_feature", "last_row")}


def in_file(path):
    return part(json.loads(iclglass.load(path).attrs[PROVENANCE])["parameters"])


def drawn(layer):
    return iclglass.draw_prompts(dimension=6, context=12, prompts=200, **layer, rng=np.random.default_rng(3))


@pytest.mark.parametrize(("flags", "layer"), LAYERS)
def test_solve_at_a_dimension(run, flags, layer):
    code, out, _ = run("solve", "--tau", "2", "--alpha", "1", "--dimension", "8", *flags, "--json")
    record = json.loads(out)
    assert code == DONE
    assert part(record["parameters"]) == reported(layer)
    assert record["e_icl"] == float(
        solve_finite(task_diversity=2.0, context_length=1.0, dimension=8, **layer).e_icl
    )  # fmt: skip
    code, out, _ = run("solve", "--tau", "2", "--alpha", "1", "--dimension", "8", *flags)
    assert f"last_row             {layer.get('last_row', True)}\n" in out


@pytest.mark.parametrize(("flags", "layer"), LAYERS)
def test_grids_and_their_files(run, flags, layer):
    axes = ["--tau", "0.8:1.5:2", "--alpha", "1:2:2", "--dimension", "6", *flags]
    assert run("sweep", *axes, "--out", "sweep.nc")[0] == DONE
    assert run("sweep", "--simulate", "--samples", "2", *axes, "--out", "drawn.nc")[0] == DONE
    assert run("phase-diagram", *axes, "--out", "phases.nc")[0] == DONE
    for name in ("sweep.nc", "drawn.nc", "phases.nc"):
        assert in_file(name) == reported(layer), name
    theory = iclglass.load("sweep.nc").e_icl.values
    assert np.allclose(iclglass.load("drawn.nc").e_icl_theory.values, theory, rtol=1e-9)
    vertices = iclglass.load("phases.nc")
    assert np.allclose(vertices.line_x, 1.0 if layer.get("last_row") is False else 1 + 1 / 6)
    # another layer is another sweep
    other = LAYERS[1][0] if not flags else []
    code, _, err = run("sweep", "--simulate", "--samples", "2", *axes[:6], *other, "--out", "drawn.nc")
    assert (code, "exists" in err) == (FILE, True)


@pytest.mark.parametrize(("flags", "layer"), LAYERS)
def test_one_data_set(run, flags, layer):
    solved = ["--ridge0", "0.02", "--beta", "50"]
    code, out, _ = run("instance", *SIZES, *solved, *flags, "--out", "s.nc", "--save-data", "d.nc", "--json")
    record, expected = json.loads(out), measure(drawn(layer), ridge=6 * 0.02, temperature=36 / 50)
    assert code == DONE
    assert part(record["parameters"]) == reported(layer)
    for name in ("m", "q", "contrast", "e_train", "e_icl"):
        assert record[name] == pytest.approx(getattr(expected, name), rel=1e-8), name
    theory = solve_finite(dimension=6, task_diversity=200 / 36, context_length=2.0, ridge=0.12, temperature=0.72,
                          **layer)  # fmt: skip
    assert record["theory"]["e_icl"] == pytest.approx(float(theory.e_icl), rel=1e-12)
    assert in_file("s.nc") == in_file("d.nc") == reported(layer)
    assert np.array_equal(iclglass.load_instance("d.nc").context, drawn(layer).context)
    rows = 6 if layer.get("last_row") is False else 7
    assert iclglass.load_solution("s.nc").mean.shape == (rows, 7)

    # Read back, contexts say themselves whether there is a last row, the file what the last feature was.
    code, out, _ = run("instance", "--data", "d.nc", *solved, "--json")
    again = json.loads(out)
    assert part(again["parameters"]) == reported(layer)
    assert again["m"] == record["m"]
    assert again["free_energy"] == record["free_energy"]
    code, out, _ = run("instance", "--blocks", *SIZES, *solved, *flags, "--json")
    assert (code, part(json.loads(out)["parameters"])) == (DONE, reported(layer))


@pytest.mark.parametrize(("flags", "layer"), LAYERS)
def test_training_and_sampling(run, flags, layer):
    common = [*SIZES, "--ridge0", "0.02", *flags, "--json"]
    code, out, _ = run("train", *common, "--steps", "200", "--learning-rate", "0.1")
    record = json.loads(out)
    assert (code, part(record["parameters"])) == (DONE, reported(layer))
    theory = solve_finite(dimension=6, task_diversity=200 / 36, context_length=2.0, ridge=0.12, **layer)
    assert record["theory"]["e_icl"] == pytest.approx(float(theory.e_icl), rel=1e-12)
    code, out, _ = run("sample", *common, "--beta", "50", "--draws", "200", "--out", "w.nc")
    assert (code, part(json.loads(out)["parameters"])) == (DONE, reported(layer))
    assert iclglass.load("w.nc").sizes["row"] == (6 if layer.get("last_row") is False else 7)
    assert in_file("w.nc") == reported(layer)


@pytest.mark.parametrize(("flags", "layer"), LAYERS)
def test_validate_reports_its_layer(run, flags, layer):
    given = ["--tau", "2", "--alpha", "1", "--dimension", "6,8", "--samples", "4", *flags]
    code, out, _ = run("validate", *given, "--json")
    assert code in (DONE, DISAGREE, 6)
    assert part(json.loads(out)) == reported(layer)
    assert part(json.loads(Path("iclglass-validation/validation.json").read_text(encoding="utf-8"))) == reported(layer)
    # samples of one layer are not continued as those of another
    code, _, err = run("validate", *given[:8], *(LAYERS[1][0] if not flags else []))
    assert code in (USAGE, FILE), err
    assert "samples.checkpoint" in err


def test_tokens_of_ones_own(run):
    rng = np.random.default_rng(4)
    arrays = {"tokens": rng.normal(size=(60, 9, 5)), "labels": rng.normal(size=(60, 9)),
              "query": rng.normal(size=(60, 5)), "label": rng.normal(size=60)}  # fmt: skip
    np.savez("tokens.npz", **arrays)
    for flags, layer in LAYERS:
        code, out, _ = run("instance", "--data", "tokens.npz", "--ridge0", "0.1", "--beta", "5", *flags, "--json",
                           "--norm", "N+1")  # fmt: skip
        record = json.loads(out)
        assert (code, part(record["parameters"])) == (DONE, reported(layer))
        assert record["parameters"]["norm"] == "N+1"
        data = iclglass.Instance.from_tokens(*arrays.values(), norm="N+1", **layer)
        solution = iclglass.solve_instance(data, ridge0=0.1, beta=5.0, method="gamp")
        assert record["m"] == iclglass.overlaps(solution).m
        loaded = iclglass.load_instance("tokens.npz", norm="N+1", **layer)
        assert np.array_equal(loaded.context, data.context)
    np.savez("contexts.npz", context=data.context, query=data.query, label=data.label)
    with pytest.raises(ParameterError, match="last feature is built already: leave last_feature and last_row out"):
        iclglass.load_instance("contexts.npz", last_feature="scaled-tokens", last_row=True)
    np.savez("narrow.npz", context=data.context[:, :3], query=data.query, label=data.label)
    with pytest.raises(OutputError, match=r"want context \(P, D\+1 or D\)"):
        iclglass.load_instance("narrow.npz")


def test_a_configuration_file_can_switch_the_row_off_and_the_command_line_on(run):
    Path("c.toml").write_text("tau = 2\nalpha = 1\ndimension = 8\nlast-row = false\n", encoding="utf-8")
    for flags, expected in (([], False), (["--last-row"], True), (["--no-last-row"], False)):
        _, out, _ = run("solve", "--config", "c.toml", "--json", *flags)
        assert json.loads(out)["parameters"]["last_row"] is expected
    Path("c.toml").write_text('tau = 2\nalpha = 1\ndimension = 8\nlast-row = "no"\n', encoding="utf-8")
    code, _, err = run("solve", "--config", "c.toml")
    assert (code, "'last-row' in c.toml must be true or false" in err) == (USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "--no-last-row"], "last_row = False has no meaning at D -> infinity"),
        (
            ["solve", "--last-feature", "scaled-tokens"],
            "last_feature = 'scaled-tokens' has no meaning at D -> infinity",
        ),
        (["solve", "--digits", "20", "--no-last-row"], "last_row = False has no meaning at D -> infinity"),
        (["sweep", "--out", "a.nc", "--no-last-row"], "last_row = False has no meaning at D -> infinity"),
        (["sweep", "--simulate", "theory", "--out", "a.nc", "--no-last-row"], "last_row = False has no meaning"),
        (["solve", "--dimension", "8", "--last-feature", "tokens"], "must be one of unit-tokens, scaled-tokens"),
        (["validate", "--last-feature", "tokens"], "must be one of unit-tokens, scaled-tokens"),
        (["solve", "--dimension", "8", "--no-last-row", "--last-feature", "scaled-tokens"], "has no last feature"),
        (["validate", "--no-last-row", "--last-feature", "scaled-tokens"], "has no last feature"),
    ],
)
def test_what_has_no_meaning_is_refused(run, arguments, message):
    code, out, err = run(arguments[0], "--tau", "2", "--alpha", "1", *arguments[1:])
    assert (code, out) == (USAGE, "")
    assert message in err
    assert not list(Path().glob("*"))


@pytest.mark.parametrize("command", ["instance", "train", "sample"])
def test_data_sets_refuse_it_too(run, command):
    more = {"instance": ["--beta", "5"], "sample": ["--beta", "5"], "train": ["--steps", "2", "--learning-rate", "1"]}
    given = [command, *SIZES, "--ridge0", "0.1", *more[command]]
    for flags, message in (
        (["--last-feature", "tokens"], "must be one of unit-tokens, scaled-tokens"),
        (["--last-feature", "scaled-tokens", "--no-last-row"], "has no last feature"),
    ):
        code, _, err = run(*given, *flags)
        assert (code, message in err) == (USAGE, True)
