"""Histories: event streams in files, to take elsewhere, to keep, and to compare."""
