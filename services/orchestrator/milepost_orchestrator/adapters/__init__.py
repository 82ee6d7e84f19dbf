"""Postgres, JetStream consumers and verdicts."""
