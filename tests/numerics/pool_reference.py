"""Pools of isotropic tasks by another road, to many digits: the raw equations of the theory notes, section 6.

Nothing here comes from replica/ or numerics/. Averages over the pool's spectrum, Marchenko-Pastur of ratio 1/kappa, are
written with the notes' Stieltjes transform M(x) = <1/(r + x)> and its derivative, with plain differences of nearby
numbers: the digits pay for the cancellations. The effective ridge is the root nu > 0 of

    lam = nu - (nu/tau) <b/(b + nu)>,    b = r + (1 + rho)/alpha

bracketed after division by nu, when the difference of the two sides rises from negative to positive once.
"""

import mpmath

DIGITS = 110
NAMES = ("tau", "alpha", "alpha_test", "rho", "lam", "T", "kappa")
INFINITE = mpmath.mpf("inf")


def stieltjes(x, kappa):
    """M(x) and -M'(x)."""
    if mpmath.isinf(kappa):
        return 1 / (1 + x), 1 / (1 + x) ** 2
    linear = x + 1 - 1 / kappa
    root = mpmath.sqrt(linear**2 + 4 * x / kappa)
    value = 2 / (linear + root)
    return value, value**2 / 2 * (1 + (linear + 2 / kappa) / root)


def mean_logarithm(x, kappa):
    """<ln(r + x)>, whose derivative is M(x): stationary in M, by 1/M = x + 1/(1 + M/kappa)."""
    value, _ = stieltjes(x, kappa)
    if mpmath.isinf(kappa):
        return mpmath.log(1 + x)
    return -mpmath.log(value) + kappa * mpmath.log(1 + value / kappa) + x * value - 1


def effective_ridge(tau, c0, lam, kappa):
    """The bracketed root, to the last bit; 0 without ridge above tau = 1."""
    if lam == 0 and tau > 1:
        return mpmath.mpf(0)

    def excess(nu):
        return 1 - (1 - nu * stieltjes(c0 + nu, kappa)[0]) / tau - lam / nu

    lower, upper = mpmath.mpf(10) ** -40, lam + 2 * (1 + c0) / tau
    assert excess(lower) < 0 < excess(upper)
    while upper > 2 * lower:
        middle = mpmath.sqrt(lower * upper)
        lower, upper = (middle, upper) if excess(middle) < 0 else (lower, middle)
    for _ in range(int(mpmath.mp.prec) + 8):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if excess(middle) < 0 else (lower, middle)
    return (lower + upper) / 2


def saddle_point(tau, alpha, alpha_test, rho, lam, T, kappa, *, digits=DIGITS):
    """All quantities of one point as mpmath numbers, infinite or NaN where they do not exist."""
    with mpmath.workdps(digits):
        tau, alpha, alpha_test, rho, lam, T, kappa = map(mpmath.mpf, (tau, alpha, alpha_test, rho, lam, T, kappa))
        c0 = (1 + rho) / alpha
        nu = effective_ridge(tau, c0, lam, kappa)
        x = c0 + nu
        inverse, inverse2 = stieltjes(x, kappa)
        # Isotropic tasks are their own test tasks.
        averages = (inverse, inverse2, inverse, inverse2, mean_logarithm(x, kappa))
        return quantities(tau, alpha_test, rho, lam, T, c0, nu, averages)


def quantities(tau, alpha_test, rho, lam, T, c0, nu, averages, strength=1, test_strength=1):
    """All quantities from nu and <1/(r + x)>, <1/(r + x)^2>, the same with the test covariance, and <ln(r + x)>."""
    inverse, inverse2, tested1, tested2, logarithm = averages
    x, spread = c0 + nu, inverse - nu * inverse2  # <b/(b+nu)^2>
    gamma = (1 - 2 * nu * inverse + nu**2 * inverse2) / tau
    omega = lam / nu if nu > 0 else 1 - (1 - nu * inverse) / tau
    flat = omega == 0
    squares = 1 - 2 * x * inverse + x**2 * inverse2
    linear = strength - x + x**2 * inverse  # <r^2/(r + x)>
    e_idg = (strength + rho - linear - nu * squares) / (1 - gamma)
    q = squares + e_idg / tau * spread
    m, chi = 1 - x * inverse, INFINITE if flat else inverse / omega
    noise = (test_strength + rho) / alpha_test
    signal = 2 * (test_strength - x * tested1) - (test_strength - 2 * x * tested1 + x**2 * tested2)
    e_icl = test_strength + rho - signal + e_idg / tau * (tested1 - nu * tested2) + noise * q
    ground_state = (e_idg * omega**2 + lam * q) / 2
    values = {
        "m": m,
        "q": q,
        "q_self": q + T * chi if T > 0 else q,
        "chi": chi,
        "e_icl": e_icl,
        "e_icl_gibbs": e_icl + (T * chi / inverse * (tested1 + noise * inverse) if T > 0 else 0),
        "e_idg": e_idg,
        "e_train": e_idg * omega**2,
        "contrast": m / mpmath.sqrt(q),
        "replicon": 1 - gamma,
    }
    if T == 0:
        return {**values, "energy": ground_state, "free_energy": ground_state, "entropy": mpmath.nan}
    if flat:
        return {**values, "energy": T / 2, "free_energy": -INFINITE, "entropy": INFINITE}
    # ln det (Hessian + lam) per spin: <ln(lam + omega b)> - tau ln omega - tau (1 - omega).
    log_determinant = logarithm + (1 - tau) * mpmath.log(omega) - tau * (1 - omega)
    volume = mpmath.log(2 * mpmath.pi * T) - log_determinant
    thermal = {"free_energy": ground_state - T / 2 * volume, "entropy": (1 + volume) / 2}
    return {**values, "energy": ground_state + T / 2, **thermal}


def structured(tau, alpha, alpha_test, rho, lam, T, kappa, *, pretraining, test, digits=DIGITS):
    """The same with tasks of covariance diag(pretraining), tested on diag(test), equal weights; T > 0, lam > 0.

    With s = x/xi every equation is explicit in s, which is the one number to bracket.
    """
    with mpmath.workdps(digits):
        tau, alpha, alpha_test, rho, lam, T, kappa = map(mpmath.mpf, (tau, alpha, alpha_test, rho, lam, T, kappa))
        c, tested = [mpmath.mpf(v) for v in pretraining], [mpmath.mpf(v) for v in test]

        def mean(values):
            values = list(values)
            return mpmath.fsum(values) / len(values)

        strength, test_strength = mean(c), mean(tested)
        c0 = (strength + rho) / alpha

        def position(s):
            return s - mean(v * s / (s + v) for v in c) / kappa

        def excess(s):
            x = position(s)
            if x <= c0:
                return -INFINITE
            nu = x - c0
            return 1 - (1 - nu * s / x * mean(1 / (s + v) for v in c)) / tau - lam / nu

        # Both x and the excess rise with s.
        lower, upper = mpmath.mpf(0), c0 + lam + 2 * (strength + c0) / tau + strength / kappa
        assert excess(upper) > 0
        for _ in range(int(mpmath.mp.prec) + 60):
            middle = (lower + upper) / 2
            lower, upper = (middle, upper) if excess(middle) < 0 else (lower, middle)
        s, x = upper, position(upper)
        nu, xi = x - c0, x / s
        # d xi/dx of xi = x/s(x).
        slope = 1 / s - x / s**2 / (1 - mean(v**2 / (s + v) ** 2 for v in c) / kappa)

        def resolvent(weights):
            first = mean(w / (x + xi * v) for v, w in zip(c, weights, strict=True))
            return first, mean(w * (1 + slope * v) / (x + xi * v) ** 2 for v, w in zip(c, weights, strict=True))

        inverse, inverse2 = resolvent([mpmath.mpf(1)] * len(c))
        tested1, tested2 = resolvent(tested)
        logarithm = mean(mpmath.log(x + xi * v) for v in c) - kappa * mpmath.log(xi) - kappa * (1 - xi)
        averages = (inverse, inverse2, tested1, tested2, logarithm)
        return quantities(tau, alpha_test, rho, lam, T, c0, nu, averages, strength, test_strength)
