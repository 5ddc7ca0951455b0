"""A machine of any number of cores, for tests: BLAS has one thread there, so that nothing else differs."""

from iclglass.numerics.running import blas


class Library:
    """A BLAS that says how many threads it has, and can be told."""

    def __init__(self, threads):
        self.num_threads = threads

    def set_num_threads(self, number):
        self.num_threads = number


def use_threads(patch, threads):
    """So many cores, and a BLAS of so many threads, which is returned."""
    library = Library(threads)
    patch.setattr(blas, "_libraries", lambda: [library])
    patch.setattr(blas, "cores", lambda: threads)
    return library
