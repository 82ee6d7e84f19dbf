"""``milepost tokens``."""

import json
from pathlib import Path

import pytest
from milepost_cli.main import run
from milepost_orchestrator.entrypoints.access import AccessTokens
from milepost_orchestrator.entrypoints.roles import Person, Role

pytestmark = pytest.mark.unit


def test_a_token_is_printed_once_and_works_until_it_is_revoked(tmp_path: Path, capsys) -> None:
    """It alone is on stdout; the list has names and roles, and a mistake ends with the fix and code 2."""
    file = tmp_path / "deep" / "tokens.json"
    where = ["--file", str(file)]
    assert run(["tokens", "list", *where]) == 0
    assert "milepost tokens create" in capsys.readouterr().err
    assert run(["tokens", "create", "anna", "--role", "operate", *where]) == 0
    shown = capsys.readouterr()
    token = shown.out.strip()
    assert "MILEPOST_HTTP_TOKENS" in shown.err
    assert AccessTokens.of(None, file).bearer(token) == Person("anna", Role.OPERATE)
    assert run(["tokens", "create", "anna", *where]) == 2
    assert "milepost tokens revoke anna" in capsys.readouterr().err
    assert run(["tokens", "list", "--json", *where]) == 0
    listed = capsys.readouterr().out
    assert json.loads(listed) == {"tokens": [{"name": "anna", "role": "operate"}]}
    assert token not in listed
    assert run(["tokens", "revoke", "anna", *where]) == 0
    assert AccessTokens.of(None, file).bearer(token) is None
    assert run(["tokens", "revoke", "anna", *where]) == 2
