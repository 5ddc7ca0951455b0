"""Sweeps with a simulation at every point, on any engine, that survive the death of worker, driver or machine.

points       what one point is: a small payload that fixes its random numbers by what it is
roads        how a point is computed: theory, simulation, message passing, sampling, training
grid         the points of a grid
evaluation   evaluate(point): the one function of a sweep, whatever the engine
engines      serial, processes, Dask, MPI, or any executor; scheduler: is there one of Dask's at an address
checkpoint   finished points in one SQLite file beside the output
driver       hands out points, records results, survives dead workers, stops on Ctrl-C
results      the labelled dataset and its digest
sweep        sweep_simulated(...), sweep_status(...): all of the above in order
engine_executor  an engine as an executor, for what is no sweep: products over blocks of prompts
"""
