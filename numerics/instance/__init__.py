"""One data set: its prompts as arrays, its couplings and fields, its Boltzmann measure.

data             `Instance`: contexts U, queries X and labels y, nothing else; from arrays or tokens
storage          data sets and solutions as .npz and netCDF files
features         the feature matrix as an operator that is never stored
spin_glass       couplings, fields and the exact measure with every matrix written out, for small n
linear_response  ground state, traces and diagonal of the response, by Cholesky
krylov           solves with the response matrix without storing it
blocks           a data set in row blocks, and sums over them: what runs on workers
distributed      the same solves with the blocks on workers: `solve_distributed`
solve            `solve_instance`, the one entry to the solvers in memory; solution: what they return
exact            linear algebra: Cholesky when n or P is small, conjugate gradients when not
gamp             messages on the prompts
spin_by_spin     messages on the pairs of spins: with the reaction term, and as published
stability        whether a message-passing iteration converges, by its linearisation
predictions      predictions on new prompts with error bars, overlaps of replicas, contrast
"""
