"""Every symbol of the project: name, LaTeX, meaning and range, made here and nowhere else.

``notes/notation.md`` is generated from this table. Python names are the symbols' names, except that the
ridge is called ``lam`` because ``lambda`` is a keyword.
"""

from dataclasses import dataclass

import sympy as sp

__all__ = ["LATEX", "NOTATION", "Notation"]


@dataclass(frozen=True)
class Notation:
    """One line of the table of notation.

    Attributes
    ----------
    symbol
        The SymPy symbol or indexed base.
    latex
        How it is typeset.
    meaning
        What it stands for, in words.
    values
        Its range, in words or as an inequality.
    group
        The heading it is listed under.
    """

    symbol: sp.Basic
    latex: str
    meaning: str
    values: str
    group: str


_table: list[Notation] = []


def _symbol(name: str, latex: str, meaning: str, values: str, group: str, **assumptions: bool) -> sp.Symbol:
    if not {"positive", "nonnegative"} & set(assumptions):
        assumptions["real"] = True
    symbol = sp.Symbol(name, **assumptions)
    _table.append(Notation(symbol, latex, meaning, values, group))
    return symbol


def _field(name: str, latex: str, meaning: str, group: str) -> sp.IndexedBase:
    base = sp.IndexedBase(name, real=True)
    _table.append(Notation(base, latex, meaning, "real", group))
    return base


_SIZES = "Sizes"
D = _symbol("D", "D", "dimension of a token", "integer > 1", _SIZES, positive=True, integer=True)
N = _symbol(
    "N", "N", "labelled tokens in the context of one prompt", "integer > 0", _SIZES, positive=True, integer=True
)
P = _symbol("P", "P", "prompts in the data set", "integer > 0", _SIZES, positive=True, integer=True)
norm = _symbol("norm", r"\mathcal{N}", "divisor of the attention sum: N, or N + 1", "N or N + 1", _SIZES, positive=True)
n = _symbol("n", "n", "number of replicas; continued to n -> 0", "n -> 0", _SIZES)

_DISORDER = "Quenched disorder"
w = _field("w", "w", "task vector, entries N(0, 1)", _DISORDER)
x = _field("x", "x", "context tokens x[k, i], entries N(0, 1)", _DISORDER)
xt = _field("xt", r"\tilde{x}", "query token, entries N(0, 1)", _DISORDER)
eps = _field("eps", r"\varepsilon", "label noise of the context tokens, N(0, 1)", _DISORDER)
epst = _field("epst", r"\tilde{\varepsilon}", "label noise of the query, N(0, 1)", _DISORDER)

_SPINS = "Spins and energy"
W = _field("W", "W", "weights = real-valued spins, the D x D block", _SPINS)
V = _field("V", "V", "weights = real-valued spins, the last row (the label's own token entry)", _SPINS)
sigma = _symbol("sigma", r"\sigma", "one spin", "real", _SPINS)
y = _symbol("y", "y", "label of the query", "real", _SPINS)
f = _symbol("f", "f", "prediction of the layer for the query, f = s.W", "real", _SPINS)
lambda0 = _symbol("lambda0", r"\lambda_0", "ridge in the Hamiltonian", ">= 0", _SPINS, nonnegative=True)
l0 = _symbol("l0", r"\ell_0", "lasso strength in the Hamiltonian", ">= 0", _SPINS, nonnegative=True)
beta = _symbol("beta", r"\beta", "inverse temperature in the Boltzmann weight", "> 0", _SPINS, positive=True)

_SCALED = "Scaled parameters"
tau = _symbol("tau", r"\tau", "task diversity P/D^2", "> 0", _SCALED, positive=True)
alpha = _symbol("alpha", r"\alpha", "context length N/D", "> 0", _SCALED, positive=True)
alpha_test = _symbol("alpha_test", r"\alpha_*", "context length of the test prompts", "> 0", _SCALED, positive=True)
rho = _symbol("rho", r"\rho", "label noise variance", ">= 0", _SCALED, nonnegative=True)
lam = _symbol("lam", r"\lambda", "ridge D lambda0", ">= 0; 0 is the ridgeless limit", _SCALED, nonnegative=True)
betahat = _symbol("betahat", r"\hat{\beta}", "scaled inverse temperature beta/D^2 = 1/T", "> 0", _SCALED, positive=True)
T = _symbol("T", "T", "temperature 1/betahat", ">= 0; 0 is the ground state", _SCALED, nonnegative=True)

_ORDER = "Order parameters"
m = _symbol("m", "m", "magnetization Tr W / D: overlap with the ideal weights", "real", _ORDER)
q = _symbol("q", "q", "overlap of two replicas, Tr W^1 (W^2)^T / D", "> 0", _ORDER, positive=True)
Delta = _symbol("Delta", r"\Delta", "self-overlap minus overlap, q_self - q", "> 0", _ORDER, positive=True)
chi = _symbol("chi", r"\chi", "susceptibility betahat Delta", "> 0", _ORDER, positive=True)
m_hat = _symbol("m_hat", r"\hat{m}", "field conjugate to m", "real", _ORDER)
q_hat = _symbol("q_hat", r"\hat{q}", "minus the off-diagonal field conjugate to Q", "real", _ORDER)
k_hat = _symbol("k_hat", r"\hat{k}", "precision of one spin inside one replica", "> 0", _ORDER, positive=True)

_DERIVED = "Derived quantities"
a = _symbol("a", "a", "variance of a feature, D E[s_ij^2] -> 1 + (1 + rho)/alpha", ">= 1", _DERIVED, positive=True)
g = _symbol(
    "g", "g", "weight of one prompt in the Boltzmann exponent, beta/P = betahat/tau", "> 0", _DERIVED, positive=True
)
phi = _symbol("phi", r"\phi", "free entropy, lim E ln Z / D^2", "real", _DERIVED)
e_icl = _symbol(
    "e_icl", r"e_{\mathrm{ICL}}", "squared error of the mean weights on a new task", ">= rho", _DERIVED, positive=True
)
e_idg = _symbol(
    "e_idg",
    r"e_{\mathrm{IDG}}",
    "squared error of the mean weights on a new prompt of the pretraining law",
    ">= rho",
    _DERIVED,
    positive=True,
)
e_train = _symbol(
    "e_train",
    r"e_{\mathrm{train}}",
    "squared error of the mean weights on the pretraining prompts",
    ">= 0",
    _DERIVED,
    nonnegative=True,
)
c = _symbol("c", "c", "leverage of one prompt: (y - s.W) = (y - s.W_cav)/(1 + c)", "> 0", _DERIVED, positive=True)
G = _symbol("G", "G", "cavity response of one spin to a field, D chi", "> 0", _DERIVED, positive=True)

_THERMAL = "Temperature"
ground_state = _symbol(
    "E_0", "E_0", "energy of the ground state, (e_train + lam q)/2", ">= 0", _THERMAL, nonnegative=True
)
volume = _symbol("V_T", "V_T", "2 ln of the volume that the spins fill at T", "real", _THERMAL)
spins = _symbol("n_s", "n_s", "spins in units of D^2; 1 as D -> infinity", "> 0", _THERMAL, positive=True)
gibbs_response = _symbol("chi_icl", r"\chi_{\mathrm{ICL}}", "d e_icl_gibbs/dT", "> 0", _THERMAL, positive=True)

_CLOSED = "Closed form"
b = _symbol("b", "b", "a - 1 = (1 + rho)/alpha: noise of the in-context estimate", "> 0", _CLOSED, positive=True)
b_test = _symbol("b_test", "b_*", "(1 + rho)/alpha_test", "> 0", _CLOSED, positive=True)
ell = _symbol("ell", r"\ell", "ridge in units of the feature variance, lam/a", ">= 0", _CLOSED, nonnegative=True)
delta = _symbol("delta", r"\delta", "distance from the interpolation threshold, tau - 1", "> -1", _CLOSED)
d = _symbol("d", "d", "delta + ell tau", "real", _CLOSED)
s = _symbol("s", "s", "difference of the two roots of the equation for z", ">= 0", _CLOSED, nonnegative=True)
h = _symbol("h", "h", "(s + |d|)/2", ">= 0", _CLOSED, nonnegative=True)
z = _symbol("z", "z", "learned fraction of the signal, a m", "0 < z <= min(1, tau)", _CLOSED, positive=True)
z_bar = _symbol("z_bar", r"\bar{z}", "1 - z = lam chi", ">= 0", _CLOSED, nonnegative=True)
r = _symbol(
    "r", "r", "ratio of training residual to test residual, 1/(1 + a chi/tau)", "0 <= r < 1", _CLOSED, nonnegative=True
)
v = _symbol("v", "v", "variance part of the overlap, q - m^2", ">= 0", _CLOSED, nonnegative=True)
inverse_chi = _symbol(
    "inverse_chi", r"\chi^{-1}", "1/chi, finite where chi diverges", ">= 0", _CLOSED, nonnegative=True
)
replicon = _symbol(
    "replicon",
    r"\Lambda_R",
    "replicon eigenvalue in units of its free value; > 0 is stable",
    "<= 1",
    _CLOSED,
    nonnegative=True,
)

_POOL = "Pools of tasks"
kappa = _symbol("kappa", r"\kappa", "distinct tasks K/D in the pool", "> 0", _POOL, positive=True)
R = _field("R", "R", "second moment of the pool's tasks, (1/K) sum w w^T", _POOL)
eigenvalue = _symbol("r_pool", "r_R", "eigenvalue of R", ">= 0", _POOL, positive=True)
density = sp.Function("p")
strength = _symbol("t_pool", r"\bar t", "mean squared task entry, Tr R/D", "> 0", _POOL, positive=True)
b_pool = _symbol("b_pool", "b_R", "variance of a feature along an eigenvector of R", "> 0", _POOL, positive=True)
omega = _symbol(
    "omega", r"\omega", "screening of one prompt, 1/(1 + leverage)", "0 <= omega <= 1", _POOL, positive=True
)
nu = _symbol("nu", r"\nu", "effective ridge lam/omega", ">= lam", _POOL, positive=True)
gamma = _symbol("gamma", r"\gamma", "1 - replicon of a pool", "< 1", _POOL, nonnegative=True)
tested = _symbol("c_test", "c_*", "variance of new tasks along an eigenvector of R", ">= 0", _POOL, nonnegative=True)
test_strength = _symbol("t_test", r"\bar t_*", "mean of c_* over directions", ">= 0", _POOL, nonnegative=True)
direction_cost = _symbol(
    "k_test", "k_*", "error on new tasks per variance along an eigenvector of R", "> 0", _POOL, positive=True
)

_GENERAL = "Any spins, any loss"
scaled_spin = _symbol("sigma_s", r"\tilde\sigma", "one scaled spin, sqrt(D) W", "real, or a level", _GENERAL)
l1 = _symbol("l1", r"\ell_1", "lasso strength D^(3/2) l0", ">= 0", _GENERAL, nonnegative=True)
nuclear = _symbol("nuclear", r"\nu_*", "nuclear-norm strength D nu0", ">= 0", _GENERAL, nonnegative=True)
spacing = _symbol("spacing", r"c_{\sigma}", "spacing of discrete spins", "> 0", _GENERAL, positive=True)
huber_threshold = _symbol(
    "huber_threshold", r"\delta_H", "residual from which the Huber loss is linear", "> 0", _GENERAL, positive=True
)
kappa1 = _symbol("kappa1", r"\kappa_1", "E[y t]: what labels say of the task", "> 0", _GENERAL, positive=True)
kappa2 = _symbol("kappa2", r"\kappa_2", "E[y^2]: mean squared label", "> 0", _GENERAL, positive=True)
teacher_variance = _symbol(
    "teacher_variance", r"\overline{t^2}", "E[t^2], the task's variance", "> 0", _GENERAL, positive=True
)
a_test = _symbol("a_test", "a_*", "a at the context length of the test prompts", "> 0", _GENERAL, positive=True)
t = _symbol("t", "t", "teacher's field w.xt/sqrt(D) of the query", "real", _GENERAL)
f_cav = _symbol("f_cav", r"f_{\mathrm{cav}}", "prediction by weights that do not know the prompt", "real", _GENERAL)
pull = _symbol("pull", r"g_f", "pull of one prompt, (f - f_cav)/c", "real", _GENERAL)
pull_slope = _symbol("pull_slope", r"g_f'", "d pull/d f_cav", "real", _GENERAL)
mean_loss = _symbol(
    "mean_loss", r"\langle l\rangle", "loss averaged over the prediction's fluctuations", "real", _GENERAL
)
prompt_free = _symbol("prompt_free", r"\mathcal{M}_f", "free energy of one prediction", "real", _GENERAL)
K = _symbol("K", "K", "precision that prompts give to a spin", "real", _GENERAL)
M = _symbol("M", "M", "signal that prompts give to a diagonal spin", "real", _GENERAL)
Q = _symbol("Q", "Q", "variance of the field that prompts give to a spin", "> 0", _GENERAL, positive=True)
normal = _symbol("z_0", r"\xi", "a standard normal variable", "real", _GENERAL)
field = _symbol("field", r"h_s", "field on one scaled spin, sqrt(Q) z", "real", _GENERAL)
spin = _symbol("spin", r"\langle s\rangle", "mean of one scaled spin in its field", "real", _GENERAL)
response = _symbol("response", r"s'", "d spin/d field", ">= 0", _GENERAL)
nonzero = _symbol("nonzero", r"1_{s\neq 0}", "share of one spin that is not zero", "0 to 1", _GENERAL)
mean_penalty = _symbol("mean_penalty", r"\langle r\rangle", "penalty of one spin, averaged", "real", _GENERAL)
spin_free = _symbol("spin_free", r"\mathcal{M}_s", "free energy of one spin in its field", "real", _GENERAL)
diagonal = _symbol("diagonal", "w_d", "one diagonal spin, W itself: the magnetization", "real", _GENERAL)
diagonal_free = _symbol(
    "diagonal_free", r"\mathcal{M}_d", "least energy of one diagonal spin in its field", "real", _GENERAL
)
diagonal_penalty = _symbol("diagonal_penalty", "r_d", "penalty of one diagonal spin", "real", _GENERAL)

_BROKEN = "One step of replica symmetry breaking"
cluster_size = _symbol("x_c", "x_P", "replicas in one cluster; continued to n -> 0", "0 to 1", _BROKEN, positive=True)
parisi = _symbol("parisi", "y_P", "Parisi parameter x/T", "> 0", _BROKEN, positive=True)
q1 = _symbol("q1", "q_1", "overlap of two replicas of one cluster", "> 0", _BROKEN, positive=True)
q0 = _symbol("q0", "q_0", "overlap of two replicas of different clusters", "> 0", _BROKEN, positive=True)
Q1 = _symbol("Q1", "Q_1", "variance of the field on a spin in one cluster", "> 0", _BROKEN, positive=True)
Q0 = _symbol("Q0", "Q_0", "its part that all clusters have in common", "> 0", _BROKEN, positive=True)
q1_hat = _symbol("q1_hat", r"\hat q_1", "Q1/T^2", "> 0", _BROKEN, positive=True)
q0_hat = _symbol("q0_hat", r"\hat q_0", "Q0/T^2", "> 0", _BROKEN, positive=True)
cluster_spin = _symbol("cluster_spin", r"\langle s\rangle_y", "mean of a spin over clusters", "real", _BROKEN)
cluster_square = _symbol("cluster_square", r"\langle s^2\rangle_y", "mean square over clusters", ">= 0", _BROKEN)
cluster_response = _symbol("cluster_response", r"\langle s'\rangle_y", "response, mean over clusters", ">= 0", _BROKEN)
cluster_response_square = _symbol(
    "cluster_response_square", r"\langle s'^2\rangle_y", "squared response, mean over clusters", ">= 0", _BROKEN
)
cluster_free = _symbol("cluster_free", r"F_y", "free energy of the clusters of one spin", "real", _BROKEN)
cluster_mean_free = _symbol(
    "cluster_mean_free", r"\langle F\rangle_y", "mean free energy in a cluster", "real", _BROKEN
)
cluster_penalty = _symbol("cluster_penalty", r"\langle r\rangle_y", "mean penalty in a cluster", "real", _BROKEN)
cluster_nonzero = _symbol("cluster_nonzero", r"\langle 1_{s\neq 0}\rangle_y", "share not 0", "0 to 1", _BROKEN)

_FINITE = "Finite dimension, any spins and loss"
feature_block = _symbol(
    "f_1", "f_1", "squared norm |u|^2 |xt|^2 of one prompt's features on the block", "> 0", _FINITE, positive=True
)
feature_last = _symbol("f_2", "f_2", "the same on the last row, v^2 |xt|^2", ">= 0", _FINITE, nonnegative=True)
query_overlap = _symbol("o_x", "o_x", "u.xt of one prompt: prediction of the weights W = 1", "real", _FINITE)
label_signal = _symbol("y_u", "y_u", "(u.w/sqrt(D)) |xt|^2 of one prompt", "real", _FINITE)
label_square = _symbol("y_2", "y_2", "E[y^2] of one prompt, given |w| and |xt|", ">= 0", _FINITE, nonnegative=True)
fluctuation = _symbol("f_v", "f_v", "part of f_cav that is due to the weights' fluctuations", "real", _FINITE)
v_last = _symbol("v_last", r"v_\ell", "mean square of a scaled spin of the last row", ">= 0", _FINITE, nonnegative=True)
chi_last = _symbol(
    "chi_last", r"\chi_\ell", "response of a scaled spin of the last row", ">= 0", _FINITE, nonnegative=True
)
K_last = _symbol("K_last", r"K_\ell", "precision that prompts give to a spin of the last row", "real", _FINITE)
Q_last = _symbol(
    "Q_last", r"Q_\ell", "variance of the field on a spin of the last row", ">= 0", _FINITE, nonnegative=True
)

_FACTORISED = "Factorised weights"
signal_ratio = _symbol(
    "gamma_s",
    r"\gamma_s",
    "signal over noise of the field on the weights as a matrix, M/sqrt(Q)",
    "> 0",
    _FACTORISED,
    positive=True,
)
singular_value = _symbol(
    "x_s", "x_s", "singular value of the field, in units of its noise sqrt(Q)", "> 0", _FACTORISED, positive=True
)
shifted = _symbol("w_s", "w_s", "singular value less its self-energy, complex on the support", "complex", _FACTORISED)
law_node = _symbol("eta", r"\eta", "parameter along the law of singular values", "> 0", _FACTORISED, positive=True)
law_high = _symbol("eta_high", r"\eta_+", "its value at the largest singular value", "> 0", _FACTORISED, positive=True)

NOTATION: tuple[Notation, ...] = tuple(_table)
LATEX: dict[sp.Basic, str] = {entry.symbol: entry.latex for entry in NOTATION}
