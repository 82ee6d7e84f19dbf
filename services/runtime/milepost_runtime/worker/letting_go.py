"""The last word about a work message: removed, or given back.

A word that is not heard does no harm, so nobody waits longer for it and no worker dies of it: the work comes to
somebody again when its lease has run out, and they find in the log that it has ended or has no owner. A server
that was killed may answer none at all for a delivery that it has forgotten.
"""

from collections.abc import Coroutine
from typing import Any

import structlog

from milepost_runtime.errors import BusUnavailableError

log = structlog.get_logger()


async def let_go(word: Coroutine[Any, Any, None], operation_id: str) -> None:
    """Say ``word``, which is ``done()`` or ``give_back()`` of a work item."""
    try:
        await word
    except BusUnavailableError as error:
        log.warning("the work comes again", operation_id=operation_id, reason=str(error))
