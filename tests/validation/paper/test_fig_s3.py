"""Fig. S3: the fixed point of the iteration, the published sampling by SciPy's own inversion, the mean response."""

import numpy as np
from scipy import stats

from iclglass.validation.paper import fig_s3

ROUNDING = 1e-9
FALSE_ALARM = 1e-4


def test_fixed_point_is_the_solution_at_a_smaller_lambda():
    rng = np.random.default_rng(2)
    couplings, fields, onsite = fig_s3.published_glass(rng)
    mean, variance, _ = fig_s3.message_passing((couplings, fields, onsite))
    reaction = couplings**2 @ variance
    assert np.allclose(variance, 1 / (onsite - reaction), rtol=ROUNDING)
    assert np.allclose(mean, np.linalg.solve(np.diag(onsite - reaction) - couplings, fields), atol=ROUNDING)


class _NotNormalised(stats.rv_continuous):
    def _pdf(self, x):
        return 3 * stats.norm.pdf(x, scale=0.024)


def test_published_sampling_is_scipys_inversion():
    drawn = _NotNormalised(a=-0.1, b=0.1).rvs(size=60, random_state=np.random.default_rng(3))
    ours = fig_s3.published_glass(np.random.default_rng(4))[0][:110, :110]
    assert np.all(drawn < 0)
    assert stats.ks_2samp(drawn, ours[~np.eye(110, dtype=bool)]).pvalue > FALSE_ALARM


def test_published_arrays_are_solved_again(small):
    couplings, fields, onsite = fig_s3.published_glass(np.random.default_rng(9))
    mean, variance, _ = fig_s3.message_passing((couplings, fields, onsite))
    square = (11, 11)
    arrays = (couplings, fields.reshape(square), mean.reshape(square), variance.reshape(square) / 100)
    remarks = fig_s3.judge(small("fig-S3"), dict(zip(fig_s3.PUBLISHED, arrays, strict=True))).remarks
    assert any("100.0 % of the couplings within the block are negative" in remark for remark in remarks)
    assert len(remarks) == 4
