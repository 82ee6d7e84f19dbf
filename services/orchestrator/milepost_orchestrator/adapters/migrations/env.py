"""Alembic's environment: uses the connection of whoever runs the migrations."""

from alembic import context

from milepost_orchestrator.adapters.models import Model

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Model.metadata,
    version_table_schema=context.config.attributes["schema"],
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
