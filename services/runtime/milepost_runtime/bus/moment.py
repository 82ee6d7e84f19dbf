"""Reads all of one operation's messages as they were at one moment, also those of a training of days.

A consumer with several filters has the server look at each message from the first one wanted to the last, of which
there may be a million; a consumer with one subject goes from one of its messages to the next. So the stream first
says what the operation has, and if that is much each subject is read by a consumer of its own, side by side.

States of a reading: counted -> read -> complete, or counted again. Authority: the stream's last sequence at the
count, which the server takes before it looks for subjects; what came later is left out, so nothing is missing in
between. Failures: where there is less than was counted (removed, or a replica is behind) it is counted again.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from milepost_runtime.bus.jetstream import PATIENCE_SECONDS, JetStream
from milepost_runtime.bus.pull import StreamMessage, StreamReader
from milepost_runtime.errors import BusUnavailableError

TRIES_MAX = 8
FIRST_PAUSE_SECONDS = 0.01
"""Doubled each time: a second and a quarter together."""
SIDE_BY_SIDE_MIN = 100
"""Of fewer messages one consumer is less work than several."""
BATCH_MAX = 500


class MomentReader:
    """Of one JetStream stream; ``reader`` makes one that reads some subjects from the beginning."""

    def __init__(
        self, jetstream: JetStream, stream: str, reader: Callable[[Collection[str]], StreamReader]
    ) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._reader = reader

    async def read(self, within: str, only: Collection[str] | None = None) -> list[StreamMessage]:
        """Return the messages of all subjects that ``within`` matches, or of ``only`` those, in order.

        Raises:
            BusUnavailableError: the bus is away, or messages go on vanishing while they are read.
            BusRefusedError, BusPermissionError: the stream cannot be read at all.
        """
        for number in range(TRIES_MAX):
            counts, last_sequence = await self._count(within, only)
            found = await self._read(counts, last_sequence)
            if found is not None:
                return sorted(found, key=lambda message: message.sequence)
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**number)
        raise BusUnavailableError(
            f"messages of {within} were removed each time while they were read; read again"
        )

    async def _count(self, within: str, only: Collection[str] | None) -> tuple[Mapping[str, int], int]:
        answer = await self._jetstream.call(
            f"STREAM.INFO.{self._stream}", {"subjects_filter": within}, patience_seconds=PATIENCE_SECONDS
        )
        state = answer["state"]
        counts: dict[str, int] = state.get("subjects") or {}
        wanted = {subject: count for subject, count in counts.items() if only is None or subject in only}
        return wanted, int(state["last_seq"])

    async def _read(self, counts: Mapping[str, int], last_sequence: int) -> list[StreamMessage] | None:
        """Return what there is up to a sequence, None when that is less than was counted.

        Also when something came between the sequence and the count, which costs one more try.
        """
        if not counts:
            return []
        together = sum(counts.values()) < SIDE_BY_SIDE_MIN
        groups = [list(counts)] if together else [[subject] for subject in counts]
        # All of them are waited for, so that none leaves its consumer behind.
        parts = await asyncio.gather(*(self._read_to_end(group) for group in groups), return_exceptions=True)
        found: list[StreamMessage] = []
        complete = True
        for group, part in zip(groups, parts, strict=True):
            if isinstance(part, BaseException):
                raise part
            earlier = [message for message in part if message.sequence <= last_sequence]
            found += earlier
            complete &= len(earlier) >= sum(counts[subject] for subject in group)
        return found if complete else None

    async def _read_to_end(self, subjects: Collection[str]) -> list[StreamMessage]:
        messages: list[StreamMessage] = []
        reader = self._reader(subjects)
        try:
            while batch := await reader.next_batch_to_end(BATCH_MAX):
                messages.extend(batch)
        finally:
            await reader.close()
        return messages
