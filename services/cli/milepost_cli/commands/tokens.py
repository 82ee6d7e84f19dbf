"""``milepost tokens create``, ``list`` and ``revoke``."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from milepost_orchestrator.entrypoints.roles import Role
from milepost_orchestrator.entrypoints.token_file import (
    TokenNameError,
    create_token,
    read_entries,
    revoke_token,
)

from milepost_cli.errors import UsageFaultError
from milepost_cli.location import stack_directory
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json
from milepost_cli.tables import print_table

VARIABLE = "MILEPOST_HTTP_TOKENS"
FILE_NAME = "tokens.json"
app = new_app()
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help=f"The file of tokens. Default: {VARIABLE}, else tokens.json of the stack."),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is, such as anna.")]


class RoleWord(StrEnum):
    """What a token lets someone do; each includes the ones before it."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


@app.callback()
def tokens() -> None:
    """Say who may use the HTTP API and the dashboard."""


@app.command("create", epilog=examples("milepost tokens create anna --role operate"))
def create(
    name: NameArgument,
    role: Annotated[
        RoleWord, typer.Option(help="read, operate (commands) or admin (dispatch).")
    ] = RoleWord.READ,
    file: FileOption = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make someone a token. It is printed once and kept nowhere: the file has its digest only.

    A running orchestrator that was started with the file accepts it at once.
    """
    path = _path(file, directory)
    try:
        token = create_token(path, name, Role[role.name])
    except TokenNameError as error:
        raise UsageFaultError(str(error), fix=error.fix) from error
    if as_json:
        print_json({"name": name, "role": role.value, "token": token, "file": str(path)})
        return
    notes().print(f"{name} may {role.value}; the token, which is not shown again:")
    people().print(token, highlight=False)
    if os.environ.get(VARIABLE) != str(path):
        notes().print(f"orchestrators started with {VARIABLE}={path} ask for tokens of this file")


@app.command("list", epilog=examples("milepost tokens list"))
def list_them(
    file: FileOption = None, directory: DirectoryOption = None, as_json: JsonOption = False
) -> None:
    """List who has a token, and the role; tokens themselves are not known."""
    path = _path(file, directory)
    entries = read_entries(path) if path.exists() else ()
    if as_json:
        print_json({"tokens": [{"name": entry.name, "role": entry.role.word} for entry in entries]})
    elif entries:
        print_table(("NAME", "ROLE"), [(entry.name, entry.role.word) for entry in entries])
    else:
        notes().print("nobody has a token; make one with `milepost tokens create NAME`")


@app.command("revoke", epilog=examples("milepost tokens revoke anna"))
def revoke(
    name: NameArgument,
    file: FileOption = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take someone's token away; it and the sessions that it opened end at once."""
    try:
        revoke_token(_path(file, directory), name)
    except TokenNameError as error:
        raise UsageFaultError(str(error), fix=error.fix) from error
    if as_json:
        print_json({"name": name, "revoked": True})
    else:
        notes().print(f"{name} has no token any more")


def _path(file: Path | None, directory: Path | None) -> Path:
    named = os.environ.get(VARIABLE)
    return file or (Path(named) if named else stack_directory(directory) / FILE_NAME)
