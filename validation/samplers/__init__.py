"""Samplers of the Boltzmann measure of one data set, and the proofs that they are right.

target       make_target, spectrum   -> Target       gradient, energy, edges of the spectrum, many chains at once
chains       run_chains                              state, accept step, loop, record
exact, heat_bath, langevin, hmc                      one step each, or independent draws
sampling     sample                  -> Samples      the one entry
law          boltzmann_law           -> WeightLaw    what the draws must follow; what Langevin steps follow instead
diagnostics  diagnose                -> Diagnostic   R-hat, ESS, MCSE by arviz_stats
checks       check_law               -> Check        z-scores against the law
overlap      overlap_distribution    -> Overlaps     two replicas, P(q), thermal averages against the theory
spins        sample_spins            -> Draws        any spins, any loss, many data sets at once; one_spin and visits
"""
