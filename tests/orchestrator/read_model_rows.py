"""Rows of the read models by SQL, as many as a list needs: number n follows from n alone. Specs are a kilobyte."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.orchestrator.stories import EPOCH

_SERIES = "FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n"
_OPERATIONS = f"""
INSERT INTO operations (operation_id, kind, queue, name, status, unit, total_units, attempt, worker_id, parent_id,
    root_id, reason, requested_by, requested_at, started_at, ended_at, requested_sequence, sequence, spec, inputs,
    options, failure, results, summary)
SELECT 'op-' || lpad(n::text, 8, '0'), (ARRAY['backtest', 'training'])[n % 2 + 1], 'default', 'Nightly ' || n,
    (ARRAY['completed', 'failed', 'cancelled', 'queued', 'running'])[n % 5 + 1], n, 1000000, 1, 'w-' || n % 4,
    CASE WHEN n % 10 > 0 THEN 'op-' || lpad((n - 1)::text, 8, '0') END, 'op-' || lpad((n / 10 * 10)::text, 8, '0'),
    CASE WHEN n % 5 = 1 THEN 'Boom ' || n END, '/test', CAST(:epoch AS timestamptz) + n * interval '1 second',
    CASE WHEN n % 5 <> 3 THEN CAST(:epoch AS timestamptz) + n / 3 * interval '1 second' END,
    CASE WHEN n % 5 < 3 THEN CAST(:epoch AS timestamptz) + (n + 1000) * interval '1 second' END,
    n, n, jsonb_build_object('units', 100, 'text', repeat(md5(n::text), 30)), '[]', '{{}}', NULL, '[]', '{{}}'
{_SERIES}
"""
_ATTEMPTS = f"""
INSERT INTO attempts (operation_id, attempt, worker_id, host, pid, lease_seconds, claimed_at,
    environment_differences)
SELECT 'op-' || lpad(n::text, 8, '0'), 1, 'w-' || n % 4, 'h', 1, 10, CAST(:epoch AS timestamptz), '[]'
{_SERIES}
"""
_CHECKPOINTS = f"""
INSERT INTO checkpoints (operation_id, checkpoint_id, kind, attempt, unit, total_units, reason, status, saved_at,
    size_bytes, problems, fingerprint, summary, sequence)
SELECT 'op-' || lpad(n::text, 8, '0'), 'cp-' || lpad(n::text, 8, '0'),
    (ARRAY['backtest', 'training'])[n % 2 + 1], 1, n / 4, 1000000,
    (ARRAY['periodic', 'failure', 'manual'])[n % 3 + 1], 'recorded',
    CAST(:epoch AS timestamptz) + n * interval '1 second', n * 37 % 50, '[]', '{{}}', '{{}}', n
{_SERIES}
"""


async def write_rows(connection: AsyncConnection, *, operations: int, first: int = 0) -> None:
    """Write operations ``first`` to ``operations - 1``, each with an attempt and a checkpoint."""
    for statement in (_OPERATIONS, _ATTEMPTS, _CHECKPOINTS):
        await connection.execute(text(statement), {"first": first, "last": operations - 1, "epoch": EPOCH})
