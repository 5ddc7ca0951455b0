"""Sweeps with a simulation at every point, on any engine, that survive the death of worker, driver or machine.

points       what one point is: a small payload that fixes its random numbers by what it is
roads        how a point is computed: theory, simulation, message passing, sampling, training
grid         the points of a grid
evaluation   evaluate(point): the one function of a sweep, whatever the engine
results      the labelled dataset and its digest
sweep        sweep_simulated(...), sweep_status(...): all of the above in order

Engines, the file of finished points and the driver are those of `numerics.running`.
"""
