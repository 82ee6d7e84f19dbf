"""Check a spec and resolve it: every problem named at once, defaults filled in, datasets pinned by digest."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.datasets import Dataset, DatasetReference
from milepost_contracts.events import Requested
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import ContractModel, JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs import backtest, training
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_contracts.specs.strategies import STRATEGY_PARAMETERS
from milepost_contracts.specs.sweep import SweepSpec
from milepost_contracts.specs.training import TrainingSpec
from milepost_runtime.fleet import KindCatalogue
from pydantic import JsonValue, ValidationError

from milepost_orchestrator.application.grids import problems_of_grid
from milepost_orchestrator.application.json_schemas import problems_with, with_defaults
from milepost_orchestrator.application.model_pinning import ModelPinning, PinnedStrategy
from milepost_orchestrator.application.ports import Datasets
from milepost_orchestrator.domain.forking import Amended, amend, merged
from milepost_orchestrator.domain.rejections import Rejection

NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class ResolvedSpec:
    """A spec that can be run exactly so again."""

    spec: JsonObject
    inputs: tuple[ArtifactReference, ...]


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """A kind whose spec the contracts know, announced or not."""

    spec: type[ContractModel]
    dataset_fields: tuple[str, ...]
    parts: Mapping[str, Mapping[str, type[ContractModel]]]
    changeable: Mapping[str, tuple[str, ...]]
    varies: bool = False
    """Whether its parts' parameters stand for many combinations, by a grid."""


BUILT_IN: Mapping[str, _BuiltIn] = {
    "backtest": _BuiltIn(
        BacktestSpec, ("data",), {"strategy": STRATEGY_PARAMETERS}, changeable=backtest.CHANGEABLE
    ),
    # A sweep compares its combinations: costs that change on the way would compare nothing.
    "sweep": _BuiltIn(SweepSpec, ("data",), {"strategy": STRATEGY_PARAMETERS}, changeable={}, varies=True),
    "training": _BuiltIn(
        TrainingSpec, ("data",), {"task": {"bars": BarsTaskParameters}}, changeable=training.CHANGEABLE
    ),
}


class SpecResolver:
    """Checks specs against what is known of their kind."""

    def __init__(self, catalogue: KindCatalogue, datasets: Datasets, models: ModelPinning) -> None:
        self._catalogue = catalogue
        self._datasets = datasets
        self._models = models

    async def resolve(
        self, kind: str, spec: JsonObject, *, known: tuple[ArtifactReference, ...] = ()
    ) -> ResolvedSpec | Rejection:
        """Return the resolved spec, or a rejection that names everything that is wrong with it.

        ``known`` are the inputs of a request that it is made from: they need not be found again.

        Raises:
            BusUnavailableError, StoreUnavailableError, DatabaseUnavailableError: something cannot be looked up.
        """
        announced = await self._catalogue.describe(kind)
        built_in = BUILT_IN.get(kind)
        if announced is None and built_in is None:
            return await self._unknown_kind(kind)
        checked, problems = _check_whole(spec, built_in, announced)
        if built_in is not None and built_in.varies:
            # Up to 100 000 combinations take a while.
            part_problems = await asyncio.to_thread(_check_varied_parts, checked, built_in, announced)
        else:
            checked, part_problems = _check_parts(checked, built_in, announced)
        fields = built_in.dataset_fields if announced is None and built_in else ()
        fields = announced.dataset_fields if announced is not None else fields
        checked, inputs, missing = await self._pin(checked, fields, known)
        # A fork's model was pinned by its parent: that the strategy stays as it is makes sure of it.
        wanted = kind in ("backtest", "sweep") and not known
        pinned = await self._models.pin(checked) if wanted else PinnedStrategy(checked)
        checked, inputs = pinned.spec, (*inputs, *pinned.inputs)
        problems = (*problems, *part_problems, *pinned.problems)
        if not problems and not missing:
            # Once more with digests, which tell the same bars under two names.
            checked, problems = _check_whole(checked, built_in, announced)
        if problems:
            return _invalid(kind, (*problems, *missing))
        if missing:
            return await self._unknown_dataset(missing)
        return ResolvedSpec(checked, inputs)

    async def amended(self, requested: Requested, changes: JsonObject) -> Amended | Rejection:
        """Return a request's spec with a fork's changes, or a rejection that says which cannot be made.

        Raises:
            BusUnavailableError, StoreUnavailableError: a catalogue cannot be read.
        """
        changed = merged(requested.spec, changes)
        # The old one is resolved too: what has a default since then is no change of this fork's.
        before = await self.resolve(requested.kind, requested.spec, known=requested.inputs)
        after = await self.resolve(requested.kind, changed, known=requested.inputs)
        if isinstance(before, Rejection):
            return before
        if isinstance(after, Rejection):
            return after
        announced = await self._catalogue.describe(requested.kind)
        built_in = BUILT_IN.get(requested.kind)
        changeable: Mapping[str, tuple[str, ...]] = announced.changeable if announced else {}
        if not changeable and built_in is not None:
            changeable = built_in.changeable
        inputs = {artifact.digest: artifact for artifact in (*requested.inputs, *after.inputs)}
        return amend(before.spec, after.spec, tuple(inputs.values()), changeable, requested.kind)

    async def _pin(
        self, spec: JsonObject, fields: tuple[str, ...], known: tuple[ArtifactReference, ...]
    ) -> tuple[JsonObject, tuple[ArtifactReference, ...], tuple[Problem, ...]]:
        """Set the digest of every dataset; what is not a reference at all is left to the spec's own check."""
        inputs: dict[str, ArtifactReference] = {}
        by_digest = {artifact.digest: artifact for artifact in known}
        missing: list[Problem] = []
        for field in fields:
            given = spec.get(field)
            many = isinstance(given, list)
            pinned: list[JsonValue] = []
            for number, one in enumerate(given if isinstance(given, list) else [given]):
                path = f"spec.{field}.{number}" if many else f"spec.{field}"
                pinned.append(await self._pin_one(one, path, inputs, missing, by_digest))
            if given is not None:
                spec = {**spec, field: pinned if many else pinned[0]}
        return spec, tuple(inputs.values()), tuple(missing)

    async def _pin_one(
        self,
        given: JsonValue,
        path: str,
        inputs: dict[str, ArtifactReference],
        missing: list[Problem],
        known: Mapping[str, ArtifactReference],
    ) -> JsonValue:
        try:
            reference = DatasetReference.model_validate(given)
        except ValidationError:
            return given
        if reference.digest is not None and reference.digest in known:
            inputs[reference.digest] = known[reference.digest]
            return given
        dataset = await asyncio.to_thread(self._find, reference)
        if dataset is None:
            named = reference.digest or reference.name
            missing.append(Problem(field=path, message=f"there is no dataset {named}"))
            return given
        inputs[dataset.artifact.digest] = dataset.artifact
        return {"name": reference.name or dataset.name, "digest": dataset.artifact.digest}

    def _find(self, reference: DatasetReference) -> Dataset | None:
        if reference.digest is not None:
            return self._datasets.by_digest(reference.digest)
        return self._datasets.get(reference.name) if reference.name is not None else None

    async def _unknown_kind(self, kind: str) -> Rejection:
        announced = {description.kind for description in await self._catalogue.kinds()}
        return Rejection(
            RejectionCode.UNKNOWN_KIND,
            f"no worker has ever announced the kind {kind}",
            f"choose one of {_names(announced | set(BUILT_IN))}, or start a worker of that kind",
            (Problem(field="kind", message=f"unknown kind {kind}"),),
        )

    async def _unknown_dataset(self, missing: tuple[Problem, ...]) -> Rejection:
        known = {dataset.name for dataset in await asyncio.to_thread(self._datasets.list)}
        there_are = f"there are {_names(known)}" if known else "there is none yet"
        return Rejection(
            RejectionCode.UNKNOWN_DATASET,
            "; ".join(problem.message for problem in missing),
            f"{there_are}; add one with `milepost data add NAME FILE`",
            missing,
        )


def _check_whole(
    spec: JsonObject, built_in: _BuiltIn | None, announced: KindDescription | None
) -> tuple[JsonObject, tuple[Problem, ...]]:
    """Check the spec without its parts' parameters; return it with defaults."""
    if built_in is not None:
        try:
            return built_in.spec.model_validate(spec).model_dump(mode="json"), ()
        except ValidationError as error:
            # With its defaults, so that what follows finds its own problems too.
            return with_defaults(built_in.spec.model_json_schema(), spec), problems_of(error, "spec", spec)
    if announced is None:
        return spec, ()
    # Defaults first: a property that has one is never missing.
    filled = with_defaults(announced.spec_schema, spec)
    return filled, problems_with(announced.spec_schema, filled, "spec")


def _check_parts(
    spec: JsonObject, built_in: _BuiltIn | None, announced: KindDescription | None
) -> tuple[JsonObject, tuple[Problem, ...]]:
    """Check the parameters of each named part by the part's own schema."""
    models: Mapping[str, Mapping[str, type[ContractModel]]] = built_in.parts if built_in is not None else {}
    schemas = announced.parts if announced is not None else {}
    problems: list[Problem] = []
    for field in sorted(set(models) | set(schemas)):
        part = spec.get(field)
        if not isinstance(part, dict):
            continue
        checked, found = _check_part(part, f"spec.{field}", models.get(field, {}), schemas.get(field, {}))
        spec = {**spec, field: checked}
        problems.extend(found)
    return spec, tuple(problems)


def _check_varied_parts(
    spec: JsonObject, built_in: _BuiltIn, announced: KindDescription | None
) -> tuple[Problem, ...]:
    """Check each named part and its parameters with every combination of the grid."""
    schemas = announced.parts if announced is not None else {}
    problems: list[Problem] = []
    for field, models in built_in.parts.items():
        part = spec.get(field)
        if not isinstance(part, dict):
            continue
        unknown = _unknown_part(part, f"spec.{field}", models, schemas.get(field, {}))
        problems.extend((unknown,) if unknown else problems_of_grid(spec, models, schemas.get(field, {})))
    return tuple(problems)


def _check_part(
    part: JsonObject,
    path: str,
    models: Mapping[str, type[ContractModel]],
    schemas: Mapping[str, JsonObject],
) -> tuple[JsonObject, tuple[Problem, ...]]:
    name, parameters = part.get("name"), part.get("parameters", {})
    if not isinstance(name, str):
        return part, ()
    unknown = _unknown_part(part, path, models, schemas)
    if unknown is not None:
        return part, (unknown,)
    if not isinstance(parameters, dict):
        return part, ()
    checked, problems = _check_parameters(
        parameters, f"{path}.parameters", models.get(name), schemas.get(name)
    )
    return {**part, "parameters": checked}, problems


def _unknown_part(
    part: JsonObject,
    path: str,
    models: Mapping[str, type[ContractModel]],
    schemas: Mapping[str, JsonObject],
) -> Problem | None:
    name = part.get("name")
    if not isinstance(name, str) or name in models or name in schemas:
        return None
    noun = path.rpartition(".")[2]
    known = _names(set(models) | set(schemas))
    # What ships is known without a worker, a team's own only once one of its workers has announced it.
    waits = "" if schemas else " (no worker has announced more yet)"
    return Problem(field=f"{path}.name", message=f"unknown {noun} {name}; known: {known}{waits}")


def _check_parameters(
    parameters: JsonObject, path: str, model: type[ContractModel] | None, schema: JsonObject | None
) -> tuple[JsonObject, tuple[Problem, ...]]:
    if model is not None:
        try:
            return model.model_validate(parameters).model_dump(mode="json"), ()
        except ValidationError as error:
            return parameters, problems_of(error, path, parameters)
    if schema is None:
        return parameters, ()
    filled = with_defaults(schema, parameters)
    return filled, problems_with(schema, filled, path)


def _invalid(kind: str, problems: tuple[Problem, ...]) -> Rejection:
    first, count = problems[0], len(problems)
    more = f" (and {count - 1} more)" if count > 1 else ""
    return Rejection(
        RejectionCode.INVALID_SPEC,
        f"the spec is not a valid {kind}: {first.field}: {first.message}{more}",
        f"compare it with `milepost spec example {kind}`; `milepost spec schema {kind}` says what is allowed",
        problems,
    )


def _names(names: set[str]) -> str:
    shown: list[str] = sorted(names)
    more = f" and {len(shown) - NAMED_MAX} more" if len(shown) > NAMED_MAX else ""
    return ", ".join(shown[:NAMED_MAX]) + more
