"""Goal T10: independent double-precision solutions of several models, to the digits given, through the front door."""

import numpy as np
import pytest

import iclglass

LASSO = {"task_diversity": 1, "context_length": 2, "ridge": 0, "l1": 0.5}
ELASTIC_NET = {"task_diversity": 0.5, "context_length": 2, "ridge": 0.05, "l1": 0.5, "label_noise": 0.1}
LOG_LOSS = {"task_diversity": 2, "context_length": 2, "ridge": 0.1, "labels": "sign", "loss": "log_loss"}
BINARY = {"task_diversity": 2, "context_length": 5, "ridge": 0.1, "spins": "binary"}
NUCLEAR = {"task_diversity": 1, "context_length": 2, "nuclear": 0.3}

KNOWN = {
    "lasso": (
        LASSO,
        {
            "m": ".6666667",
            "q": ".4871010",
            "chi": ".3315639",
            "e_icl": ".3973182",
            "e_train": ".1772124",
            "density": ".3321516",
            "replicon": ".6678484",
        },
    ),
    "elastic net": (
        ELASTIC_NET,
        {
            "m": ".5937548",
            "q": ".4696029",
            "chi": ".5432050",
            "e_icl": ".6403748",
            "e_train": ".0888976",
            "density_off_diagonal": ".3408667",
            "replicon": ".4225794",
        },
    ),
    "log loss": (
        LOG_LOSS,
        {
            "m": ".910499",
            "q": "1.810607",
            "chi": "4.316004",
            "test_loss": ".618088",
            "train_loss": ".330856",
            "error_rate": ".330973",
            "replicon": ".823446",
        },
    ),
    "binary": (
        {**BINARY, "temperature": 0.5},
        {"m": ".713879", "q": ".669642", "e_icl": ".375813", "replicon": ".474364"},
    ),
    # First given with q cut to .34896 and a rank of .72538, from an earlier quadrature; drawn matrices have this rank.
    "nuclear": (
        NUCLEAR,
        {"m": ".34089", "q": ".34897", "chi": "1.0385", "e_icl": ".84167", "e_train": ".12865", "rank": ".72683"},
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_solution(name):
    keywords, numbers = KNOWN[name]
    solution = iclglass.solve(**keywords)
    assert solution.status == 0
    for quantity, digits in numbers.items():
        last = 10.0 ** -len(digits.partition(".")[2])
        # Digits given are rounded: half a unit of the last, and as much again for the independent solver.
        assert abs(float(getattr(solution, quantity)) - float(digits)) <= last, quantity


def test_energy_of_the_prompts_of_binary_spins():
    """The energy less that of the ridge on the diagonal."""
    solution = iclglass.solve(**BINARY, temperature=0.5)
    assert abs(float(solution.energy) - 0.1 * float(solution.m) ** 2 / 2 - 0.297597) < 1e-6


def test_de_almeida_thouless_temperature_of_binary_spins():
    """Between two temperatures that agree with .213847 to its last digit."""
    solution = iclglass.solve(**BINARY, temperature=[0.213846, 0.213848])
    np.testing.assert_array_equal(np.sign(solution.replicon), [-1, 1])
