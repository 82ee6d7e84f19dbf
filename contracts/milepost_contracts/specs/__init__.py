"""Specs of the built-in kinds."""
