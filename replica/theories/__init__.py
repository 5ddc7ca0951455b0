"""Theories beside the replica-symmetric one of independent spins at D -> infinity.

    matrix        factorised weights: the spins' side as a matrix denoiser
    finite        finite D: classes of spins, and prompts whose size fluctuates
    one_step      clusters of replicas: one step of replica symmetry breaking

Each module uses only those above it and the symbolic layer.
"""
