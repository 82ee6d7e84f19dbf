"""Where a stack's read models are, for the commands that look after them."""

from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.projections_bootstrap import ProjectionSettings

from milepost_cli.location import StackLocation


def projection_settings(location: StackLocation) -> ProjectionSettings:
    """Return where read models are; needs MILEPOST_DATABASE_URL, which the file of `milepost up` knows.

    Raises:
        SettingsError: it is missing or wrong.
    """
    endpoints = location.endpoints()
    return ProjectionSettings(endpoints.bus, endpoints.store, DatabaseSettings(endpoints.database_url))
