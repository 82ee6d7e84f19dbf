"""Imports what services and commands import, then forks a process for each request; see ``preloaded``.

``python -m tests.support.preloaded_server DESCRIPTOR``; ends when the other side of the socket is closed.
"""

import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
from typing import Any

from milepost_runtime.worker.fork_server import ForkServer, freeze

MODULES = (
    "milepost_runtime.worker.bootstrap",
    "milepost_orchestrator.entrypoints.service",
    "milepost_orchestrator.adapters.models",
    "milepost_cli.main",
)
COMMANDS = "milepost_cli.commands"


def load() -> None:
    """Import all but the modules that are run."""
    for name in MODULES:
        importlib.import_module(name)
    package = importlib.import_module(COMMANDS)
    for module in pkgutil.iter_modules(package.__path__, f"{COMMANDS}."):
        importlib.import_module(module.name)
    assert threading.active_count() == 1, threading.enumerate()


def main() -> None:
    load()
    freeze()
    request = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        for number, file in enumerate(request.files):
            os.dup2(file, number)
            os.close(file)
        wanted: dict[str, Any] = json.loads(request.message)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["directory"])
        module, *arguments = wanted["arguments"]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
