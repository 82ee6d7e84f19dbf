"""Trainings: a pure engine, its progress bridge, and the kind that workers run."""
