"""Decides commands, folds events into Postgres, keeps checkpoints on record."""
