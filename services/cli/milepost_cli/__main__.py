"""``python -m milepost_cli`` is the same as ``milepost``."""

from milepost_cli.main import main

main()
