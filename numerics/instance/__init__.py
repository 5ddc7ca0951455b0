"""One data set: its prompts as arrays, its couplings and fields, its Boltzmann measure.

data             `Instance`: contexts U, queries X and labels y, nothing else
features         the feature matrix as an operator that is never stored
spin_glass       couplings, fields and the exact measure with every matrix written out, for small n
linear_response  ground state and traces of the response, exactly
"""
