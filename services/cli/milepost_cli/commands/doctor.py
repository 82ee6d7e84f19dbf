"""``milepost doctor``."""

import asyncio

import typer

from milepost_cli.doctor import examine
from milepost_cli.errors import ExitCode
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import people, print_json

app = new_app()


@app.command(epilog=examples("milepost doctor", "milepost doctor --json"))
def doctor(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """Check everything that is needed and say how to fix what is wrong.

    Exits with 1 when something is wrong.
    """
    findings = asyncio.run(examine(directory))
    all_well = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": all_well, "checks": [finding.document() for finding in findings]})
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            style = "green" if finding.ok else "bold red"
            people().print(
                "ok   " if finding.ok else "wrong", finding.check.ljust(width), "", style=style, end=""
            )
            people().print(finding.found, soft_wrap=True)
            if finding.fix:
                people().print(f"      fix: {finding.fix}", soft_wrap=True)
        people().print("all is well" if all_well else "something is wrong; see above")
    raise typer.Exit(ExitCode.OK if all_well else ExitCode.FAILED)
