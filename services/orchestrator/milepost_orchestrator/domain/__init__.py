"""Decisions and folds: pure functions on frozen models."""
