"""The training engine: torch only, no files, no bus; usable in a notebook."""
