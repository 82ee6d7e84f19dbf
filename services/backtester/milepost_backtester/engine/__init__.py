"""The pure engine: no bus, no store, no files, no clock. Usable in a notebook with arrays and a strategy."""
