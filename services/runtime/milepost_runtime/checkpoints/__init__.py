"""Checkpoints: when to save, how bytes become durable, how they are found again."""
