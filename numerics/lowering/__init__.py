"""From equations with unevaluated averages to numbers.

    functions   SymPy expressions as NumPy functions that do not overflow
    one_body    one prediction or one spin in a field: its pieces, kinks and jumps; what it does at T = 0
    envelope    energies that are not convex: where their minimiser jumps
    answers     the parts of what one body answers, and its answer to one field
    thermal     the same at T > 0: moments of its Boltzmann weight
    rules       nodes and weights of a standard normal, for each kind of integrand
    cold, warm  those of the field on one body, placed where its answer is smooth: at T = 0, and above
    nodes       which of them a body needs
    prompts     the law of label and prediction
    compiled    a System whose averages are sums over nodes
    finite      the same for a system at finite D, with an outer average over prompts' scalars
    clusters, broken
                averages in clusters of replicas, and a system of one step of breaking
    precise     the same at one point at T = 0 in mpmath numbers

Only these modules and `numerics.codegen` know SymPy.
"""
