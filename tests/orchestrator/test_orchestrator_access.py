"""Who comes in over HTTP, and what they may do."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from milepost_contracts.events import CancelRequested, Requested
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.access import SESSION_DURATION, AccessTokens
from milepost_orchestrator.entrypoints.roles import Person, Role
from milepost_orchestrator.entrypoints.token_file import TokenNameError, create_token, revoke_token
from milepost_runtime.errors import SettingsError

from tests.orchestrator.running import Running, run_orchestrator

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
START = {"kind": "counter", "spec": {"units": 10}}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def tokens(file: Path) -> dict[str, str]:
    """A token of each role, by the name of its owner."""
    names = {"rhea": Role.READ, "odin": Role.OPERATE, "ada": Role.ADMIN}
    return {name: create_token(file, name, role) for name, role in names.items()}


@pytest.fixture
async def running(
    tenant: StackEndpoints, tmp_path: Path, file: Path, tokens: dict[str, str]
) -> AsyncIterator[Running]:
    async with run_orchestrator(tenant, tmp_path, tokens_file=file) as started:
        yield started


@pytest.mark.unit
def test_a_token_is_kept_as_its_digest_only(file: Path, tokens: dict[str, str]) -> None:
    """The file, which only its owner can read, lets nobody in; the token does, under its name and role."""
    content = file.read_text()
    assert not any(token in content for token in tokens.values())
    assert file.stat().st_mode & 0o077 == 0
    access = AccessTokens.of(None, file)
    assert access.bearer(tokens["odin"]) == Person("odin", Role.OPERATE)
    digests = [entry["sha256"] for entry in json.loads(content)["tokens"]]
    assert [access.bearer(digest) for digest in digests] == [None, None, None]
    assert AccessTokens.of("0123456789abcdef", None).bearer("0123456789abcdef") == Person("token", Role.ADMIN)


@pytest.mark.unit
def test_a_session_ends_in_time_and_with_its_token(file: Path, tokens: dict[str, str]) -> None:
    """No byte of a session can be changed, and it outlives neither its end nor the token that opened it."""
    access = AccessTokens.of(None, file)
    person = access.bearer(tokens["rhea"])
    session = access.session(person, NOW)
    assert access.person_of_session(session, NOW) == person
    assert access.person_of_session(session, NOW + SESSION_DURATION + timedelta(seconds=1)) is None
    changed = [session[:at] + chr(ord(session[at]) ^ 1) + session[at + 1 :] for at in range(len(session))]
    assert {access.person_of_session(each, NOW) for each in changed} == {None}
    revoke_token(file, "rhea")
    assert access.person_of_session(session, NOW) is None
    assert access.bearer(tokens["rhea"]) is None
    assert access.bearer(tokens["ada"]) == Person("ada", Role.ADMIN)


@pytest.mark.unit
def test_a_file_that_is_none_is_refused_and_a_later_one_changes_nothing(file: Path) -> None:
    """At the start it is an error that names every fault and quotes nothing; later the tokens of before stay."""
    secret = "not-a-digest-but-a-secret"
    file.write_text(json.dumps({"tokens": [{"name": "A b", "role": "king", "sha256": secret}]}))
    with pytest.raises(SettingsError) as caught:
        AccessTokens.of(None, file)
    assert all(words in str(caught.value) for words in ("name", "role", "sha256", "milepost tokens create"))
    assert secret not in str(caught.value)
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        AccessTokens.of(None, file)
    token = create_token(file, "ada", Role.ADMIN)
    access = AccessTokens.of(None, file)
    file.write_text("{")
    assert access.bearer(token) == Person("ada", Role.ADMIN)
    assert access.bearer("anything") is None


@pytest.mark.unit
def test_names_are_names_and_have_one_token(file: Path, tokens: dict[str, str]) -> None:
    """A second token of a name, a name that would not be one in an event, and one that nobody has are refused."""
    for name in ("ada", "Ada", "a/b", "", "a" * 65, "a~b"):
        with pytest.raises(TokenNameError):
            create_token(file, name, Role.READ)
    with pytest.raises(TokenNameError, match="has no token"):
        revoke_token(file, "nobody")


async def test_each_role_does_what_it_may_and_is_named_in_the_event(
    running: Running, tokens: dict[str, str]
) -> None:
    """Reading, commands, dispatch: 401 without a token, 403 below the role, else done and told who did it."""
    http = running.http
    assert (await http.get("/livez")).status_code == 200
    nobody = await http.get("/operations")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthorized")
    assert (await http.get("/operations", headers=bearer("wrong"))).status_code == 401
    operation_id = await running.start()
    wanted = [
        ("GET", "/operations", None, 1),
        ("GET", "/dispatch", None, 1),
        ("POST", f"/operations/{operation_id}/cancel", {"dry_run": True}, 2),
        ("POST", "/dispatch/hold", {"dry_run": True}, 3),
    ]
    for level, name in enumerate(tokens, start=1):
        for method, path, body, needed in wanted:
            answer = await http.request(method, path, json=body, headers=bearer(tokens[name]))
            assert (answer.status_code == 200) == (level >= needed), (name, path, answer.text)
            if level < needed:
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
                assert name in answer.json()["detail"]
    await http.post(f"/operations/{operation_id}/cancel", json={}, headers=bearer(tokens["odin"]))
    entry = await running.until(operation_id, CancelRequested)
    assert entry.event.requested_by == "/http/odin"


async def test_a_browser_signs_in_once_and_its_session_reads(
    running: Running, file: Path, tokens: dict[str, str]
) -> None:
    """A page sends to the sign-in and back; the session reads, and changes nothing elsewhere."""
    async with httpx.AsyncClient(
        base_url=running.http.base_url,
        headers={"Accept": "text/html"},
        trust_env=False,
        follow_redirects=True,
    ) as browser:
        asked = await browser.get("/ui/operations?q=kind:counter")
        assert asked.url.path == "/ui/login"
        after = asked.url.params["next"]
        wrong = await browser.post("/ui/login", data={"token": "guess", "next": after})
        assert (wrong.status_code, "not a token" in wrong.text) == (401, True)
        shown = await browser.post("/ui/login", data={"token": tokens["ada"], "next": after})
        assert (str(shown.url.raw_path.decode()), shown.status_code) == ("/ui/operations?q=kind:counter", 200)
        cookie = shown.history[0].headers["set-cookie"]
        assert all(words in cookie for words in ("HttpOnly", "SameSite=strict"))
        assert tokens["ada"] not in cookie
        assert (await browser.get("/operations")).status_code == 200
        assert (await browser.post("/operations", json=START)).status_code == 401
        elsewhere = await browser.post(
            "/ui/login", data={"token": tokens["ada"], "next": "//evil.example/"}, follow_redirects=False
        )
        assert elsewhere.headers["location"] == "/ui"
        revoke_token(file, "ada")
        assert (await browser.get("/ui/operations")).url.path == "/ui/login"


async def test_no_page_of_another_site_does_anything(tenant: StackEndpoints, tmp_path: Path) -> None:
    """Without tokens too: neither a form of another site, nor another name for this machine, reaches a command."""
    async with run_orchestrator(tenant, tmp_path) as running:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://evil.example"},
            {"Host": "evil.example"},
        ):
            answer = await running.http.post("/operations", json=START, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), headers
        rebound = await running.http.get("/operations", headers={"Host": "evil.example:8080"})
        assert rebound.status_code == 403
        own = {"Origin": str(running.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        started = await running.http.post("/operations", json=START, headers=own)
        assert started.status_code == 201, started.text
        entry = await running.until(started.json()["operation_id"], Requested)
        assert entry.event.requested_by == "/http"
