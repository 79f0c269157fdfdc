"""`vjepa2-ac`: the composition root of the command line.

Each room keeps its commands in its own `commands.py`; they import what is heavy only when they run, so that `--help`
answers at once. Exit codes: 0 done · 1 the work was done and the answer is no (a check failed, an episode missed its
goal) · 2 wrong usage or unusable input · 70 a fault in this program · 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import io
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from vjepa2_ac import __version__
from vjepa2_ac.errors import VJEPA2ACError

ROOMS: tuple[str, ...] = (
    "vjepa2_ac.checkpoints",
    "vjepa2_ac.data",
    "vjepa2_ac.fitcheck",
    "vjepa2_ac.landscape",
    "vjepa2_ac.training",
    "planner",
    "server",
    "sim",
)
INTERRUPTED = 130

app = typer.Typer(
    name="vjepa2-ac",
    help="Plan robot moves from pictures with V-JEPA 2 world models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run one command; every way it can end has its own exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of `vjepa2-ac ARGUMENTS`; `--debug` may stand anywhere among them."""
    debug = "--debug" in arguments
    try:
        code = int(app([a for a in arguments if a != "--debug"], prog_name="vjepa2-ac", standalone_mode=False) or 0)
        return _complain("interrupted", code) if code == INTERRUPTED else code
    except TyperException as error:
        return _complain(_usage(error), 2)
    except typer.Abort:  # a question was answered with no
        return _complain("nothing was done", 1)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, VJEPA2ACError):
            return _complain(f"error: {error}", 2)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # whichever option it came by
            return _complain(f"error: a path is too long: {error.filename}", 2)
        if _is_out_of_memory(error):
            return _complain(f"error: memory ran out: {error}", 2)
        return _complain(
            f"fault in vjepa2-ac: {type(error).__name__}: {error}"
            + ("" if debug else "\nRun again with --debug for the traceback."),
            70,
        )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError) and "torch" in sys.modules:  # numpy has an error of its own for it
        return bool(importlib.import_module("vjepa2_ac.memory").is_out_of_memory(error))
    return isinstance(error, MemoryError)


def _complain(sentence: str, code: int) -> int:
    if sentence:
        print(sentence, file=sys.stderr)
    return code


def _usage(error: TyperException) -> str:
    if not error.format_message().strip():  # the help was asked for by giving no command
        return ""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "vjepa2-ac"
    return f"error: {error.format_message()}\nSee `{command} --help`."


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vjepa2-ac {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure. Accepted anywhere on the command line.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Plan robot moves from pictures with V-JEPA 2 world models."""


for room in ROOMS:
    importlib.import_module(f"{room}.commands").register(app)


if __name__ == "__main__":
    main()
