"""The only table of tolerances: each a named constant with its reason.

A tolerance not listed here is either zero (symbolic identities) or a statistical threshold with its false-alarm rate.
"""

# --- double precision against high precision -------------------------------------------------------------------
# Goal T1: the solved saddle point against an independent solve with 50 digits, relative, edges included.
SADDLE_POINT = 1e-10
# A rational value that the closed form reaches in about ten roundings of 1.1e-16 each.
KNOWN_VALUE = 1e-14
# Generated NumPy code against generated mpmath code: same formula, so only rounding, amplified by at most 1e3 in sums.
BACKENDS = 1e-12
# Two orders of evaluation of one formula (cse on, off) away from the threshold: rounding only.
CSE = 1e-12
# Solved residuals are judged by solve() at 1e-10; recomputed by other code they must obey the same bound (goal T4).
RESIDUAL = 1e-10
# m <= min(1, tau)/a holds exactly; both sides are rounded a few times.
BRANCH = 1e-14
# The replicon and q - m^2 are compared through a difference of nearby numbers of order one.
CANCELLATION = 1e-12
# Closed form against iteration to a residual of 1e-14: error is residual/replicon, replicon > 1e-2 where tested.
ITERATION = 1e-11

# --- limits ----------------------------------------------------------------------------------------------------
# Goal T2: a limit taken numerically, with the small parameter at 1e-12 and a linear approach to it.
LIMIT = 1e-8
# log-log slope over lam = 1e-12 .. 1e-8 at tau = 1: the correction is of relative order sqrt(lam) <= 1e-4.
EXPONENT = 1e-4
# Amplitude of the divergence at lam = 1e-12: relative correction of order sqrt(lam) = 1e-6, with a factor of ten.
AMPLITUDE = 1e-5

# --- other roads -----------------------------------------------------------------------------------------------
# Averages over the Marchenko-Pastur law by the trapezoidal rule, which converges geometrically (goal T5).
RANDOM_MATRIX = 1e-12
# Published closed forms in double precision (goal T7).
PUBLISHED = 1e-10

# --- high precision against high precision ---------------------------------------------------------------------
# Symbolic derivatives against central differences, step 1e-20 at 80 digits: truncation 1e-40, and 1e-10 is the goal.
DERIVATIVE = 1e-10
# Thermodynamic derivatives of 60-digit free energies, step 1e-15: truncation 1e-30.
THERMODYNAMIC = 1e-24
# Symbolic expressions evaluated to 30 digits.
THIRTY_DIGITS = 1e-25
# Gauss quadrature of a smooth Gaussian average in double precision.
QUADRATURE = 1e-12

# --- any spins, any loss ---------------------------------------------------------------------------------------
# Goal T8: fields and answers of the compiled System against brute force with panels of a tenth of a width.
BRUTE_FORCE = 1e-9
# Goal T8: slopes of the brute-force functional by differences of fourth order with step 2e-3.
STATIONARY = 1e-7

# --- statistics ------------------------------------------------------------------------------------------------
# |z| of one normal comparison: false alarm 6.8e-6 each, 4e-4 for the sixty of the Monte Carlo tests together.
Z_SCORE = 4.5
