"""Benchmarks: pairs run in one process and reported as ratios. ``python -m benchmarks`` runs all of them."""
