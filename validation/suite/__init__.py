"""The pre-registered validation: points fixed in points.csv, both theories, error bars, negative controls, one page.

    points     the points and the two scales, standard and full
    compared   every point simulated at four dimensions, against the finite-size and the asymptotic theory
    models     other models of models.csv, against their asymptotic theory
    coverage   how often error bars cover
    controls   theories and analyses that are wrong on purpose: each must be caught
    sampled    every sampler against the exact Gaussian of one data set
    digits     the closed form against 50 digits
    suite      all of it
    result     what was found, and the verdict
    page       the verdict as one self-contained HTML page

`iclglass validate --suite standard|full` runs it.
"""
