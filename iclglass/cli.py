"""The command ``iclglass``: parse, run, and what an exit code means. What there is to run is in `iclglass.table`.

Commands run in `iclglass.commands`, imported only when one is chosen, so that ``--help`` is instant.
Data goes to stdout, messages and progress to stderr.

Exit codes: 0 done; 1 internal error; 2 usage or bad value; 3 some point did not converge; 4 theory and simulation
disagree; 5 file missing, damaged or not writable; 6 inconclusive; 130 interrupted.
"""

import argparse
import difflib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence

from iclglass import __version__
from iclglass.numerics.errors import ConvergenceError, ParameterError, ParameterTypeError, WorkerError
from iclglass.options import add_options, resolve
from iclglass.table import COMMANDS

__all__ = ["main"]

EXIT_INTERNAL, EXIT_USAGE, EXIT_NOT_CONVERGED, EXIT_DISAGREE, EXIT_FILE, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 130


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="iclglass",
        description="Replica and cavity theory of in-context learning in linear attention.",
        epilog="Exit codes: 0 done; 1 internal error; 2 usage or bad value; 3 some point did not converge; "
        "4 theory and simulation disagree; 5 file missing, damaged or not writable; 6 inconclusive (a check that could "
        "not have seen an error of the stated size); 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"iclglass {__version__}")
    commands = {}
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog=f"example:\n  {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        commands[command.name] = sub
        if command.argument is not None:
            name, meaning = command.argument
            sub.add_argument(name, metavar=name.upper(), help=meaning)
        add_options(sub, command.options)
        sub.add_argument("--config", metavar="FILE.toml", help="fill options from a TOML file; the command line wins")
    return parser, commands


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--tau -1`` as ``--tau=-1``: argparse takes a negative number for an option, and our messages are clearer."""
    joined: list[str] = []
    for argument in arguments:
        option = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if option and re.fullmatch(r"-(\d|\.\d|inf|nan).*", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _unrecognized(unknown: Sequence[str], command: str) -> str:
    options = next(entry.options for entry in COMMANDS if entry.name == command)
    names = [name for option in options for name in option.names]
    message = f"unrecognized arguments: {' '.join(unknown)}"
    first = unknown[0].partition("=")[0].lstrip("-")
    close = ["temperature"] if first == "T" else difflib.get_close_matches(first, names, n=1, cutoff=0.5)
    return f"{message}; did you mean --{close[0]}?" if close else message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; default that of the process.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Greek gets question marks, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        parser, subparsers = _parser()
        namespace, unknown = parser.parse_known_args(_joined(sys.argv[1:] if arguments is None else arguments))
        if unknown:
            subparsers[namespace.command].error(_unrecognized(unknown, str(namespace.command)))
        given = vars(namespace)
    except SystemExit as stop:
        # argparse leaves by itself: 0 after --help, 2 after a usage error.
        return int(stop.code or 0)
    try:
        return _run(given)
    except (ParameterError, ParameterTypeError) as error:
        return _fail(error, EXIT_USAGE)
    except (ConvergenceError, WorkerError) as error:
        return _fail(error, EXIT_NOT_CONVERGED)
    except MemoryError as error:
        return _fail(ParameterError(f"not enough memory: {error}; take smaller sizes"), EXIT_USAGE)
    except BrokenPipeError:
        # The reader of our output has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # OutputError included: it is an OSError.
        return _fail(error, EXIT_FILE)
    except KeyboardInterrupt as error:
        # Where something was kept, the error says so.
        print(f"iclglass: interrupted{f'; {error}' if error.args else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("iclglass: internal error, please report it with the lines above", file=sys.stderr)
        return EXIT_INTERNAL


def _run(given: dict[str, object]) -> int:
    command = next(command for command in COMMANDS if command.name == given["command"])
    config = given["config"]
    values = resolve(given, command.options, str(config) if config is not None else None)
    if command.argument is not None:
        values[command.argument[0]] = given[command.argument[0]]
    # Imported here: a command pays only for what it uses.
    from iclglass import commands

    code = commands.run(command.name, values)
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _fail(error: Exception, code: int) -> int:
    # On one line whatever a file name or a library's message holds, and without what would steer a terminal.
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))
    print(f"iclglass: error: {line}", file=sys.stderr)
    return code
