"""iclglass compare: its table, files, picture, JSON, exit codes and messages."""

import json
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("measured.csv").read_text()
CALL = ("compare", "table.csv", "--quantity", "e_icl", "--rho", "0.1")


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(TABLE)


def test_table_files_and_picture(run):
    code, out, err = run(*CALL, "--out", "out.csv", "--plot", "picture.png")
    assert code in (0, 4)
    assert "for all rows: label_noise 0.1, distinct_tasks (default) inf, ridge (default) 0.1" in out
    assert "chi^2/dof" in out
    assert err.endswith("wrote out.csv, picture.png\n")
    assert Path("out.csv").read_text().startswith("tau,alpha,mean,standard_error,theory,")
    assert Path("picture.png").stat().st_size > 10_000


@pytest.mark.parametrize(("mean", "error", "expected"), [("1.35", "0.05", 0), ("2", "0.01", 4), ("1.3", "0.9", 6)])
def test_exit_codes_of_verdicts_and_json(run, mean, error, expected):
    Path("table.csv").write_text(f"tau,alpha,mean,standard_error,by\n1.5,1,{mean},{error},A\n")
    code, out, err = run(*CALL, "--json")
    found = json.loads(out)
    assert code == expected
    assert found["passed"] is {0: True, 4: False, 6: None}[expected]
    assert found["rows"][0]["mean"] == float(mean)
    assert "columns that say nothing to the theory: by" in err


def test_columns_are_renamed(run):
    Path("table.csv").write_text(TABLE.replace("alpha", "tokens").replace("standard_error", "err"))
    code, _, err = run(*CALL)
    assert code == 2
    assert "column context_length is missing (context length N/D)" in err
    assert "columns found: tau, tokens, mean, err" in err
    renamed = ("--column", "tokens=context_length", "--column", "err=standard_error")
    assert run(*CALL, *renamed)[0] in (0, 4)
    code, _, err = run(*CALL, "--column", "tokens")
    assert code == 2
    assert "--column 'tokens' must be NAME=MEANING" in err


def test_what_is_wrong_is_said(run):
    assert run("compare", "none.csv")[0] == 5
    code, _, err = run(*CALL, "--tau", "2")
    assert code == 2
    assert "task_diversity is given, and is column 'tau', too" in err
    code, _, err = run(*CALL, "--out", "out.txt")
    assert code == 2
    assert "must end in .csv" in err
    code, _, err = run(*CALL, "--out", "table.csv")
    assert code == 5
    assert run("compare")[0] == 2
