"""Read models in memory: what a store would hold after all changes."""

from collections.abc import Mapping

from milepost_orchestrator.application.projections import Changes


class Rows:
    """Implements what a projection needs of ``ProjectionStore``."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[object, object]] = {}
        self.cursor_sequence = 0

    async def cursor(self) -> int:
        return self.cursor_sequence

    async def quarantined_operations(self) -> int:
        return 0

    async def quarantined(
        self, *, after: str, up_to: str | None = None, limit: int
    ) -> Mapping[str, frozenset[int]]:
        return {}

    async def quarantined_of(self, operation_id: str) -> frozenset[int]:
        rows = self.tables.get("quarantine", {}).values()
        return frozenset(row.sequence for row in rows if row.operation_id == operation_id)

    async def apply(self, changes: Changes, *, cursor_min: int) -> bool:
        self.take(changes)
        return True

    def take(self, changes: Changes) -> None:
        for row in changes.operations:
            self._put("operations", row.operation_id, row)
        for row in changes.attempts:
            self._put("attempts", (row.operation_id, row.attempt), row)
        for row in changes.checkpoints:
            self._put("checkpoints", (row.operation_id, row.checkpoint_id), row)
        for row in changes.artifacts:
            self._put("artifacts", (row.operation_id, row.checkpoint_id, row.position), row)
        for row in changes.metrics:
            self._put("metrics", (row.operation_id, row.name, row.sequence), row)
        for row in changes.events:
            self._put("events", row.sequence, row)
        for row in changes.quarantine:
            self._put("quarantine", row.sequence, row)
        for place in changes.deleted_checkpoints:
            self._take_out(place)
        self.cursor_sequence = changes.last_sequence

    def _take_out(self, place: tuple[str, str]) -> None:
        self.tables.get("checkpoints", {}).pop(place, None)
        artifacts = self.tables.get("artifacts", {})
        for key in [key for key in artifacts if isinstance(key, tuple) and key[:2] == place]:
            del artifacts[key]

    def _put(self, table: str, key: object, row: object) -> None:
        self.tables.setdefault(table, {})[key] = row
