"""Minimisers of the energy of one data set, for any convex loss and penalty, each with its certificate.

H(W) = (1/P) sum_mu l(y_mu, f_mu) + sum_ij r(W_ij),      f_mu = s_mu.W

functions    Loss, Penalty, OneBodyFunctions   loss and penalty as vectorised functions; `proximal_point`
losses       LOSSES, smooth_loss               those that are shipped, and one's own
penalties    elastic_net, smooth_penalty       those that are shipped, and one's own
composite    Composite, descend                FISTA with restart, then semi-smooth Newton steps
minimise     minimise -> Minimum               the front door; losses with kinks by the method of multipliers
nuclear      minimise_nuclear -> Minimum       the nuclear norm in the place of the penalty
"""
