"""Starts a stack, says so, and waits to be killed: ``python stand_in_owner.py DIRECTORY GUARD``."""

import asyncio
import json
import sys
from pathlib import Path

from milepost_infra.embedded.stack import EmbeddedStack


async def main() -> None:
    stack = EmbeddedStack(Path(sys.argv[1]), guard=sys.argv[2])
    await stack.start()
    sys.stdout.write(json.dumps(stack.pids()) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
