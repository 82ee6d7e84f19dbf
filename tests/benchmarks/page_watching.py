"""Who looks at the dashboard in a benchmark: event streams that are only read, and real pages in a browser."""

import asyncio
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx
from milepost_runtime.clock import SystemClock
from playwright.async_api import Page

Sight: TypeAlias = tuple[str, int]
"""An operation and the unit that is shown of it."""
_ROW = re.compile(rb'<tr id="row-(op-[^"]+)".*?<span class="units">([^&<]+)', re.DOTALL)
_DIGITS = re.compile(rb"[^0-9]")
_STREAM = re.compile(r'sse-connect="([^"]+)"')

WATCH = """() => {
    window.seen = [];
    const shown = (element, id) => {
        const units = element.querySelector(".units");
        const unit = Number((units ? units.textContent : element.querySelector("dd").textContent)
            .split(/[/o]/)[0].replace(/\\D/g, ""));
        window.seen.push([id, unit, performance.timeOrigin + performance.now()]);
    };
    const place = (node) => (node.nodeType === 1 ? node : node.parentElement)
        ?.closest("tr[id^=row-], #operation-progress");
    new MutationObserver((changes) => {
        const found = new Set();
        for (const change of changes) {
            for (const node of [change.target, ...change.addedNodes]) {
                const row = place(node);
                if (row) found.add(row);
            }
        }
        // After the next frame it is on the screen.
        requestAnimationFrame(() => setTimeout(() => {
            for (const each of found) if (each.isConnected) shown(each, each.id);
        }));
    }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""
"""Notes what is on the screen, and when: milliseconds since the epoch."""


async def stream_of(http: httpx.AsyncClient, path: str) -> str:
    """Return the address of a page's event stream."""
    page = (await http.get(path)).raise_for_status()
    found = _STREAM.search(page.text)
    if found is None:
        raise RuntimeError(f"{path} has no event stream")
    return html.unescape(found.group(1))


@dataclass
class StreamReading:
    """One open event stream, read as fast as it comes."""

    bytes_read: int = 0
    frames: int = 0
    seen: dict[Sight, float] = field(default_factory=dict[Sight, float])
    """When each version of a row came for the first time; only of streams that look."""

    async def read(self, url: str, path: str, *, looks: bool) -> None:
        """Read until cancelled."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
            )
            while True:
                frame = await reader.readuntil(b"\n\n")
                self.bytes_read += len(frame)
                self.frames += 1
                if looks:
                    self._look(frame, SystemClock().now().timestamp())
        except asyncio.IncompleteReadError as error:
            raise RuntimeError("the server ended an event stream") from error
        finally:
            writer.close()

    def _look(self, frame: bytes, at: float) -> None:
        for operation_id, words in _ROW.findall(frame):
            unit = int(_DIGITS.sub(b"", words) or b"0")
            self.seen.setdefault((operation_id.decode(), unit), at)


async def sights_of(page: Page, operation_id: str | None = None) -> dict[Sight, float]:
    """Return when each version was on the screen first, in seconds since the epoch."""
    seen: dict[Sight, float] = {}
    rows: list[Any] = await page.evaluate("window.seen")
    for element_id, unit, milliseconds in rows:
        seen.setdefault((operation_id or element_id.removeprefix("row-"), unit), milliseconds / 1000)
    return seen


def delays(written: Mapping[Sight, float], seen: Mapping[Sight, float]) -> list[float]:
    """Return how long each version took that was seen at all, in seconds."""
    return [at - written[sight] for sight, at in seen.items() if sight in written]
