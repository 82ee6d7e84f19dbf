"""Bytes that came over the bus, as text to look at: never more than that."""

import json
from contextlib import suppress

CHARACTERS_MAX = 4000


def payload_text(payload: bytes) -> str:
    """Return JSON indented, anything else as far as it is text; a long one is cut off and says so."""
    text = payload.decode("utf-8", errors="backslashreplace")
    with suppress(ValueError, RecursionError):  # it is here because it is not what it should be
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    if len(text) <= CHARACTERS_MAX:
        return text
    return f"{text[:CHARACTERS_MAX]}\n… {len(text) - CHARACTERS_MAX} characters more"
