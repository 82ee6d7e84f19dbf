"""Cleanup by rules: first what it would delete, then the same again once that number was typed.

States: rules -> dry run over everything, counted -> typed confirmation -> counted again; deleted only when the
count is still the one that was confirmed. Authority: the command ``cleanup``, which judges each checkpoint on its
operation's events. Failures: cut off it has deleted some and not the others; done again it goes on.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.cleanup import ENTRIES_MAX, CleanedUp, CleanUpCheckpoints, CleanupEntry
from milepost_contracts.failures import Problem
from milepost_contracts.verdicts import Rejected
from milepost_runtime.clock import random_id
from pydantic import ValidationError

from milepost_orchestrator.application.answers import Sender, invalid_command
from milepost_orchestrator.entrypoints.dashboard.actions import SOURCE, form_of, require_own_page
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.search import AGE_EXAMPLES, seconds_of_age
from milepost_orchestrator.entrypoints.dashboard.system_reading import SystemReading
from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

SHOWN_MAX = 50
FIELDS = ("older", "keep_newest", "kind", "reason")
"""What the form has; all of it comes back with the confirmation."""


@dataclass(slots=True)
class Tally:
    """What a cleanup of everything did, or would do."""

    count: int = 0
    size_bytes: int = 0
    first: list[CleanupEntry] = field(default_factory=list[CleanupEntry])
    """The first that go, in the order in which they do."""
    kept: Counter[str] = field(default_factory=Counter[str])

    def add(self, cleaned: CleanedUp) -> None:
        """Count one verdict."""
        self.count += len(cleaned.deleted)
        self.size_bytes += cleaned.deleted_bytes
        self.first.extend(cleaned.deleted[: SHOWN_MAX - len(self.first)])
        self.kept.update(cleaned.kept_counts)


def system_cleanup(ports: HttpPorts, renderer: Renderer, reading: SystemReading) -> APIRouter:
    """Return the routes; only an administrator's own page comes in."""
    router = APIRouter(prefix="/cleanup", dependencies=[Depends(require_own_page), ADMINISTRATING])

    def shown(form: Mapping[str, str], found: Tally | Rejected, **more: Any) -> Response:
        context: dict[str, Any] = {"form": form, "names": FIELDS, "changed": False, "done": False, **more}
        if isinstance(found, Rejected):
            return HTMLResponse(renderer.text("notice.html", {"verdict": found, "words": ""}))
        context["tally"], context["phrase"] = found, phrase_of(found.count)
        return HTMLResponse(renderer.text("system_cleanup_preview.html", context))

    async def tallied(request: Request, rules: CleanUpCheckpoints) -> Tally | Rejected:
        sender = Sender(random_id("cmd"), person_of(request).source(SOURCE))
        return await clean_all(ports, rules, sender)

    @router.post("/preview")
    async def preview(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        form = await form_of(request)
        rules = rules_of(form, dry_run=True)
        return shown(form, rules if isinstance(rules, Rejected) else await tallied(request, rules))

    @router.post("")
    async def clean_up(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        form = await form_of(request)
        rules = rules_of(form, dry_run=True)
        if isinstance(rules, Rejected):
            return shown(form, rules)
        found = await tallied(request, rules)
        if isinstance(found, Rejected):
            return shown(form, found)
        if form.get("confirm", "").strip() != phrase_of(found.count):
            return shown(form, found, changed=True)
        done = await tallied(request, rules.model_copy(update={"dry_run": False}))
        reading.forget()
        return shown(form, done, done=True)

    return router


def phrase_of(count: int) -> str:
    """Return what has to be typed before so many are deleted."""
    return f"delete {count}"


def rules_of(form: Mapping[str, str], *, dry_run: bool) -> CleanUpCheckpoints | Rejected:
    """Return the rules that were entered, or what is wrong with them."""
    fields: dict[str, Any] = {"dry_run": dry_run, "limit": ENTRIES_MAX}
    problems: list[Problem] = []
    if "older" in form:
        fields["older_than_seconds"] = seconds_of_age(form["older"].strip())
        if fields["older_than_seconds"] is None:
            problems.append(Problem(field="older", message=f"{form['older']!r} is no age: {AGE_EXAMPLES}"))
    if "kind" in form:
        fields["kinds"] = (form["kind"],)
    fields |= {name: form[name] for name in ("keep_newest", "reason") if name in form}
    if not problems:
        try:
            return CleanUpCheckpoints.model_validate(fields)
        except ValidationError as error:
            problems = [
                Problem(field=".".join(map(str, fault["loc"])) or "rules", message=str(fault["msg"]))
                for fault in error.errors()
            ]
    return invalid_command(random_id("cmd"), "these are no rules for a cleanup", tuple(problems))


async def clean_all(ports: HttpPorts, rules: CleanUpCheckpoints, sender: Sender) -> Tally | Rejected:
    """Send the command until everything was looked at; stop at the first that is refused."""
    tally = Tally()
    while True:
        verdict = await ports.handler.handle(rules, sender)
        if isinstance(verdict, Rejected):
            return verdict
        tally.add(verdict)
        if verdict.next_after is None:
            return tally
        rules = rules.model_copy(update={"after": verdict.next_after})
        sender = Sender(random_id("cmd"), sender.source)
