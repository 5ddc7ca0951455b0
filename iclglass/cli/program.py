"""The command ``iclglass``: its sub-commands, and what an exit code means.

Data goes to stdout, messages and progress to stderr.
"""

import io
import os
import sys
import traceback
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from iclglass import __version__
from iclglass.cli.baselines import baselines
from iclglass.cli.compare import compare
from iclglass.cli.demo import demo
from iclglass.cli.derive import derive
from iclglass.cli.instance import instance
from iclglass.cli.output import EXIT_DONE, EXIT_FILE, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_NOT_CONVERGED, EXIT_USAGE
from iclglass.cli.phase_diagram import phase_diagram
from iclglass.cli.reproduce import reproduce
from iclglass.cli.sample import sample
from iclglass.cli.solve import solve
from iclglass.cli.sweep import sweep
from iclglass.cli.train import train
from iclglass.cli.validate import validate
from iclglass.numerics.errors import ConvergenceError, ParameterError, ParameterTypeError, WorkerError

__all__ = ["COMMANDS", "main"]

_COMPLETION = "_ICLGLASS_COMPLETE"
"""A shell that asks for completions sets it."""


class _InOrder(click.Group):
    """Commands in the order of a first reading, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


COMMANDS = _InOrder(
    "iclglass",
    help="Replica and cavity theory of in-context learning in linear attention.",
    epilog="Exit codes: 0 done; 1 internal error; 2 usage or bad value; 3 some point did not converge; "
    "4 theory and simulation disagree; 5 file missing, damaged or not writable; 6 inconclusive (a check that could "
    "not have seen an error of the stated size); 130 interrupted.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120},
)
for _command in (
    demo,
    derive,
    solve,
    sweep,
    phase_diagram,
    instance,
    sample,
    train,
    validate,
    compare,
    baselines,
    reproduce,
):
    COMMANDS.add_command(_command)
click.version_option(__version__, message="iclglass %(version)s")(COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        The command line without the program's name; default that of the process.

    Returns
    -------
    int
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Greek gets question marks, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except click.UsageError as error:
        if error.ctx is not None:
            print(error.ctx.get_usage(), file=sys.stderr)
        return _fail(error.format_message(), EXIT_USAGE)
    except (ParameterError, ParameterTypeError) as error:
        return _fail(str(error), EXIT_USAGE)
    except (ConvergenceError, WorkerError) as error:
        return _fail(str(error), EXIT_NOT_CONVERGED)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}; take smaller sizes", EXIT_USAGE)
    except BrokenPipeError:
        # The reader of our output has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        # OutputError included: it is an OSError.
        return _fail(str(error), EXIT_FILE)
    except KeyboardInterrupt as interrupt:
        # Where something was kept, the interrupt says so.
        print(f"iclglass: interrupted{f'; {interrupt}' if interrupt.args else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("iclglass: internal error, please report it with the lines above", file=sys.stderr)
        return EXIT_INTERNAL


def _run(arguments: list[str]) -> int:
    if _COMPLETION in os.environ:
        return shell_complete(COMMANDS, {}, "iclglass", _COMPLETION, os.environ[_COMPLETION])
    try:
        with COMMANDS.make_context("iclglass", arguments) as context:
            return int(COMMANDS.invoke(context))
    except click.exceptions.Exit as stop:  # after --help and --version
        return stop.exit_code


def _fail(message: str, code: int) -> int:
    # On one line whatever a file name or a library's message holds, and without what would steer a terminal.
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
    print(f"iclglass: error: {line}", file=sys.stderr)
    return code
