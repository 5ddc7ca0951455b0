"""Theories beside the replica-symmetric one of independent spins.

    matrix        factorised weights: the spins' side as a matrix denoiser

Each module uses only those above it and the symbolic layer.
"""
