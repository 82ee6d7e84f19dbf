"""The OpenAPI document: what FastAPI finds in the routes, and what is the same for all of them.

Refusals are problem documents everywhere, commands are answered with verdicts, and every command has an example.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from fastapi import FastAPI
from milepost_contracts.cleanup import CleanedUp
from milepost_contracts.examples import CLEANUP_EXAMPLE, COMMAND_EXAMPLES, VERDICT_EXAMPLES
from milepost_contracts.failures import Problem
from milepost_contracts.verdicts import Accepted, Duplicate
from pydantic import BaseModel, ConfigDict, TypeAdapter

from milepost_orchestrator.entrypoints.http.authorization import OPEN_PATHS
from milepost_orchestrator.entrypoints.http.problems import MEDIA_TYPE

Node = dict[str, Any]
IDEMPOTENCY = "Idempotency-Key"
MANY = "/bulk"
CLEANUP = "/cleanup"
REFERENCE = "#/components/schemas/{model}"
ABOUT = (
    "Commands have the same names, rules and answers as on the bus. Refusals are problem documents (RFC 9457) "
    "that name every problem and the fix."
)


class ProblemDocument(BaseModel):
    """Why something was refused, everything that is wrong with it, and what to do."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)
    type: str
    title: str
    status: int
    detail: str
    code: str
    """For programs; the same as on the bus."""
    fix: str
    """For people."""
    problems: tuple[Problem, ...]


_MAKING = {"/operations": "start", "/schedules": "schedule", CLEANUP: "cleanup"}
_VERDICT: TypeAdapter[Accepted | Duplicate] = TypeAdapter(Accepted | Duplicate)


def describe(app: FastAPI) -> None:
    """Let the application's document say all that its routes do not say themselves."""
    from_routes = app.openapi

    def document() -> Node:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(from_routes())
        return app.openapi_schema

    app.openapi = document


def _completed(found: Node) -> Node:
    found["info"]["description"] = ABOUT
    components: Node = found.setdefault("components", {})
    schemas: Node = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _add_model(schemas, "ProblemDocument", ProblemDocument.model_json_schema(ref_template=REFERENCE))
    _add_model(schemas, "CleanedUp", CleanedUp.model_json_schema(ref_template=REFERENCE))
    _add_model(schemas, "Verdict", _VERDICT.json_schema(ref_template=REFERENCE))
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    problem = {
        "description": "Refused",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    components["responses"] = {"Problem": problem}
    for path, operation in _operations(found):
        _complete(path, operation, schemas)
    return found


def _complete(path: str, operation: Node, schemas: Node) -> None:
    responses: Node = operation["responses"]
    responses.pop("422", None)
    responses["4XX"] = responses["503"] = {"$ref": "#/components/responses/Problem"}
    if path not in OPEN_PATHS:
        operation["security"] = [{"token": []}]
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    if IDEMPOTENCY not in names or path.startswith(MANY):
        return
    verdict = "CleanedUp" if path == CLEANUP else "Verdict"
    # A command: a duplicate and a dry run are answered with 200 also where something would be made.
    for status in {"200", *responses} - {"4XX", "503"}:
        described = responses.setdefault(status, {"description": "The verdict"})
        described["content"] = {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{verdict}"},
                "examples": {name: {"value": _json(each)} for name, each in _verdicts(path).items()},
            }
        }
    _add_example(_example_of(path), operation, schemas)


def _verdicts(path: str) -> Mapping[str, BaseModel]:
    if path == CLEANUP:
        return {"cleaned-up": CLEANUP_EXAMPLE}
    return {name: VERDICT_EXAMPLES[name] for name in ("accepted", "duplicate")}


def _example_of(path: str) -> str:
    """Return the command's name on the bus."""
    if path in _MAKING:
        return _MAKING[path]
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    noun, word = parts[0], parts[-1]
    return word if word in COMMAND_EXAMPLES else f"{word}-{noun.removesuffix('s')}"


def _add_example(command: str, operation: Node, schemas: Node) -> None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return
    body = _properties(content["schema"], schemas)
    data = _json(COMMAND_EXAMPLES[command])["data"]
    given = {name: value for name, value in data.items() if name in body and value}
    content["examples"] = {command: {"value": given}}


def _properties(schema: Mapping[str, Any], schemas: Node) -> frozenset[str]:
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            return frozenset(schemas[option["$ref"].rpartition("/")[2]].get("properties", ()))
    return frozenset(schema.get("properties", ()))


def _operations(found: Node) -> Iterator[tuple[str, Node]]:
    for path, methods in cast("dict[str, dict[str, Node]]", found["paths"]).items():
        for operation in methods.values():
            yield path, operation


def _add_model(schemas: Node, name: str, schema: Node) -> None:
    schemas.update(schema.pop("$defs", {}))
    schemas[name] = schema


def _json(model: BaseModel) -> Node:
    return model.model_dump(mode="json", exclude_none=True)
