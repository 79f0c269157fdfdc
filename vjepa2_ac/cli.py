"""`vjepa2-ac`: the composition root of the command line.

Each room keeps its commands in its own `commands.py`; they import what is heavy only when they run, so that `--help`
answers at once. Exit codes: 0 done · 1 the work was done and the answer is no (a check failed, an episode missed its
goal) · 2 wrong usage or unusable input · 70 a fault in this program · 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer
from click.exceptions import ClickException
from rich.console import Console

from vjepa2_ac import __version__
from vjepa2_ac.errors import VJEPA2ACError

ROOMS: tuple[str, ...] = ()

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
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of `vjepa2-ac ARGUMENTS`."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return int(app(arguments, prog_name="vjepa2-ac", standalone_mode=False) or 0)
    except ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        errors.print("interrupted", style="yellow")
        return 130
    except BrokenPipeError:
        return 0
    except VJEPA2ACError as error:
        if _debug:
            errors.print_exception()
        errors.print(f"error: {error}", markup=False, style="red")
        return 2
    except Exception as error:
        if _debug:
            errors.print_exception()
        errors.print(
            f"fault in vjepa2-ac: {type(error).__name__}: {error}. Run again with --debug for the traceback.",
            markup=False,
            style="red",
        )
        return 70


_debug = False


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vjepa2-ac {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Plan robot moves from pictures with V-JEPA 2 world models."""
    global _debug
    _debug = debug


for room in ROOMS:
    importlib.import_module(f"{room}.commands").register(app)


if __name__ == "__main__":
    main()
