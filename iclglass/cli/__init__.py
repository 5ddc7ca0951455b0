"""The command ``iclglass``: one file a command, and what commands share. No science here.

    program         the command and what an exit code means
    demo, derive, solve, sweep, phase_diagram, instance, sample, train, validate, compare, baselines, reproduce
                    one command each
    suite           validate --suite
    blocks          instance --blocks
    outcome         table, text and files of a validation
    solution        the solution of one data set as text
    data_set        the data set of a command, drawn or read, and the theory of its law
    options         options that several commands have; how commands are declared; which options were given
    kinds           how the text of an option becomes a value
    config          the TOML file that fills options
    output          JSON, exit codes of finished work, checked names of outputs, folders
    progress        bars on stderr

Modules import what is heavy inside their functions, so that ``--help`` is instant.
"""

from iclglass.cli.output import EXIT_FILE
from iclglass.cli.program import main

__all__ = ["EXIT_FILE", "main"]
