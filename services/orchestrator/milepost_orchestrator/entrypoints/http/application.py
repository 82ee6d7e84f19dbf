"""The HTTP application: the same handler and answers as on the bus, the read models, and the dashboard."""

from fastapi import Depends, FastAPI

from milepost_orchestrator.entrypoints.access import AccessTokens
from milepost_orchestrator.entrypoints.dashboard.dashboard import dashboard
from milepost_orchestrator.entrypoints.dashboard.security import PageSecurity
from milepost_orchestrator.entrypoints.http.authorization import authorization
from milepost_orchestrator.entrypoints.http.bodies import BoundedBody
from milepost_orchestrator.entrypoints.http.bulk_commanding import bulk_commanding
from milepost_orchestrator.entrypoints.http.checkpoints_commanding import checkpoints_commanding
from milepost_orchestrator.entrypoints.http.checkpoints_reading import checkpoints_reading
from milepost_orchestrator.entrypoints.http.cleanup_commanding import cleanup_commanding
from milepost_orchestrator.entrypoints.http.deeds_reading import deeds_reading
from milepost_orchestrator.entrypoints.http.dispatch import dispatch
from milepost_orchestrator.entrypoints.http.failures import add_failure_handlers
from milepost_orchestrator.entrypoints.http.health import health
from milepost_orchestrator.entrypoints.http.live_reading import live_reading
from milepost_orchestrator.entrypoints.http.openapi import describe
from milepost_orchestrator.entrypoints.http.operation_parts_reading import operation_parts_reading
from milepost_orchestrator.entrypoints.http.operations_commanding import operations_commanding
from milepost_orchestrator.entrypoints.http.operations_history import operations_history
from milepost_orchestrator.entrypoints.http.operations_reading import operations_reading
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.positions import PositionHeader
from milepost_orchestrator.entrypoints.http.results_reading import results_reading
from milepost_orchestrator.entrypoints.http.schedules import schedules
from milepost_orchestrator.entrypoints.http.storage import storage
from milepost_orchestrator.entrypoints.http.workers import workers

ROUTERS = (
    operations_commanding,
    operations_reading,
    operations_history,
    operation_parts_reading,
    results_reading,
    checkpoints_commanding,
    checkpoints_reading,
    cleanup_commanding,
    workers,
    deeds_reading,
    storage,
    dispatch,
    schedules,
    bulk_commanding,
    live_reading,
    health,
)
"""Every resource, reading and commanding apart; each makes its routes from the ports."""


def create_app(ports: HttpPorts, access: AccessTokens) -> FastAPI:
    """Return the application; nothing is opened before it is served."""
    app = FastAPI(title="Milepost", version="1", dependencies=[Depends(authorization(access, ports.clock))])
    for router in ROUTERS:
        app.include_router(router(ports))
    app.include_router(dashboard(ports, access))
    add_failure_handlers(app)
    describe(app)
    app.add_middleware(BoundedBody)
    app.add_middleware(PageSecurity)
    app.add_middleware(PositionHeader, projector=ports.projector)
    return app
