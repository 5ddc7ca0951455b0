"""The saddle point by another road, to many digits: the equations as they stand, a bracketed root, the functional.

Nothing here comes from replica/ or numerics/: the formulas are those of the theory notes, section 5, and the closed
form is not used. The first equation, times chi, reads

    1 - lam chi - a chi/(1 + a chi/tau) = 0

and its left-hand side falls strictly from 1, so bisection between 1/(lam + a) and 1/lam cannot pick a wrong root.
"""

import mpmath
import numpy as np

DIGITS = 80
PARAMETERS = ("tau", "alpha", "alpha_test", "rho", "lam", "T")
INFINITE = mpmath.mpf("inf")


def functional(m, q, delta, beta, tau, a, rho, lam):
    """phi(m, q, Delta) at inverse temperature beta."""
    screening = 1 + beta * a * delta / tau
    return (
        mpmath.log(2 * mpmath.pi * delta) / 2
        + mpmath.mpf(1) / 2
        + (q - m**2) / (2 * delta)
        - beta * lam * (q + delta) / 2
        - tau / 2 * mpmath.log(screening)
        - beta / 2 * (1 + rho - 2 * m + a * q) / screening
    )


def susceptibility(tau, a, lam):
    """The bracketed root chi; infinite without ridge at tau <= 1."""
    if lam == 0 and tau <= 1:
        return INFINITE

    def excess(chi):
        return 1 - lam * chi - a * chi / (1 + a * chi / tau)

    lower = 1 / (lam + a) / 2
    if lam > 0:
        upper = 1 / lam
    else:
        upper = 2 * lower
        while excess(upper) > 0:
            upper *= 2
    assert excess(lower) > 0 > excess(upper)
    # First in the exponent, until a factor of two is left, then by halves to the last bit.
    while upper > 2 * lower:
        middle = mpmath.sqrt(lower * upper)
        lower, upper = (middle, upper) if excess(middle) > 0 else (lower, middle)
    for _ in range(int(mpmath.mp.prec) + 8):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if excess(middle) > 0 else (lower, middle)
    return (lower + upper) / 2


def saddle_point(tau, alpha, alpha_test, rho, lam, T, digits=DIGITS):
    """All quantities of one point as mpmath numbers, infinite or NaN where they do not exist."""
    with mpmath.workdps(digits):
        tau, alpha, alpha_test, rho, lam, T = map(mpmath.mpf, (tau, alpha, alpha_test, rho, lam, T))
        a, a_test = 1 + (1 + rho) / alpha, 1 + (1 + rho) / alpha_test
        chi = susceptibility(tau, a, lam)
        ridgeless = mpmath.isinf(chi)
        screening = 1 + a * chi / tau
        # chi/(1 + a chi/tau) as chi -> inf is tau/a.
        m = tau / a if ridgeless else chi / screening
        # The third equation is linear in q.
        slope = a / tau * m**2
        q = (m**2 + slope * (1 + rho - 2 * m)) / (1 - slope * a)
        error = 1 + rho - 2 * m + a * q
        train = mpmath.mpf(0) if ridgeless else error / screening**2
        values = {
            "m": m,
            "q": q,
            "q_self": q + T * chi if T > 0 else q,
            "chi": chi,
            "e_icl": 1 + rho - 2 * m + a_test * q,
            "e_idg": error,
            "e_train": train,
            "contrast": m / mpmath.sqrt(q),
            "replicon": 1 - a**2 * m**2 / tau,
        }
        values["e_icl_gibbs"] = values["e_icl"] + (a_test * T * chi if T > 0 else 0)
        if T == 0:
            values["energy"] = values["free_energy"] = (train + lam * q) / 2
            values["entropy"] = mpmath.nan
        elif ridgeless:
            # No train error and no ridge energy; every direction that data fix holds T/2, so do the flat ones in
            # the limit lam -> 0 (equipartition). Their volume is infinite.
            values.update(energy=T / 2, free_energy=-INFINITE, entropy=INFINITE)
        else:
            beta, delta = 1 / T, T * chi
            phi = functional(m, q, delta, beta, tau, a, rho, lam)
            # energy = -d phi/d beta at fixed overlaps, by a central difference of the functional.
            # Truncation 10^-digits, rounding 10^(digits/2 - 2 digits).
            step = beta * mpmath.mpf(10) ** (-digits // 2)
            with mpmath.workdps(2 * digits):
                high, low = (functional(m, q, delta, beta + sign * step, tau, a, rho, lam) for sign in (1, -1))
                energy = -(high - low) / (2 * step)
            values.update(free_energy=-T * phi, energy=energy, entropy=beta * (energy + T * phi))
        return values


def marchenko_pastur(kappa, nodes=4000):
    """Nodes and weights of the law of ratio 1/kappa, bulk by the trapezoidal rule in the angle, and its atom at 0."""
    angle = (np.arange(nodes) + 0.5) * np.pi / nodes
    r = 1 + 1 / kappa + 2 * np.sqrt(1 / kappa) * np.cos(angle)
    weight = 2 * np.sin(angle) ** 2 / (r * nodes)
    # The mass of the bulk is min(1, kappa).
    assert abs(weight.sum() - min(1, kappa)) < 1e-12
    return np.append(r, 0.0), np.append(weight, max(0.0, 1 - kappa))
