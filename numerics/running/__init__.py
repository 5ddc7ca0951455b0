"""Work that takes long: where it runs, and how nothing that was finished is lost.

    blas             one thread of BLAS, and threads of our own above it
    source           the modules that a result follows from, and digests of their code
    resuming         what unfinished work must share with the run that goes on with it
    store            the one file of unfinished work: finished tasks, or the state of one, by key
    state            the state of one computation, in such a file
    scheduler        whether a Dask scheduler is at an address
    engines          where tasks run: here, processes, Dask, MPI, or any executor
    run              hands out tasks, records results, survives dead workers, stops on Ctrl-C
    executor         an engine as an executor, for what is no list of tasks: products over blocks of prompts

Nothing here knows what a task computes: it is a function of one payload, and gives a `store.Row`.
"""
