"""Sweeps with a simulation at every point, on any engine, that survive the death of worker, driver or machine.

points       what one point is: a small payload that fixes its random numbers by what it is
roads        how a point is computed: theory, simulation, message passing, sampling, training
evaluation   evaluate(point): the one function every engine runs
engines      serial, processes, Dask, MPI, or any executor
checkpoint   finished points in one SQLite file beside the output
driver       hands out points, records results, survives dead workers, stops on Ctrl-C
results      the labelled dataset and its digest
sweep        sweep_simulated(...), sweep_status(...): all of the above in order
"""
