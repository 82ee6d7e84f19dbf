"""The ``milepost`` command: parses, runs, and turns every expected error into words and an exit code."""

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from milepost_cli.command_table import MARKUP_MODE, LazyGroup
from milepost_cli.errors import CommandError, ErrorWords, ExitCode
from milepost_cli.foreign_errors import words_of
from milepost_cli.output import print_error

app = typer.Typer(
    cls=LazyGroup,
    name="milepost",
    rich_markup_mode=MARKUP_MODE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="""[bold]Start here[/bold]
  milepost demo                 see the main job in a minute
  milepost up --detach          start a stack in ./.milepost
  milepost data sample aapl     add real daily prices
  milepost start backtest --set data.name=aapl --follow

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 rejected, 5 unreachable.
Every command has --json. MILEPOST_DEBUG=1 shows tracebacks.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"milepost {version('milepost')}")
        raise typer.Exit


@app.callback()
def _milepost(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Long operations that survive: start, cancel, resume elsewhere, and end exactly as if never stopped."""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; what went wrong has been said."""
    before_double_dash = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = "--json" in before_double_dash
    try:
        return _exit_code(app(arguments, standalone_mode=False))
    except CommandError as error:
        _say(error, error.words, as_json=as_json)
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away (`milepost ps | head -1`); nothing is left to be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the one place where anything left over becomes words
        code, words = words_of(error)
        _say(error, words, as_json=as_json)
        return code


def _exit_code(returned: object) -> int:
    return returned if isinstance(returned, int) and not isinstance(returned, bool) else ExitCode.OK


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        # The help has been printed; asking for nothing is no answer to a script, though.
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "milepost"
    words = ErrorWords("usage", error.format_message(), f"`{path} --help` shows how it is used")
    _say(error, words, as_json=as_json)
    return ExitCode.USAGE


def _say(error: BaseException, words: ErrorWords, *, as_json: bool) -> None:
    if os.environ.get("MILEPOST_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    print_error(words, as_json=as_json)
