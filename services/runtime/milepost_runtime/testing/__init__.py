"""Test doubles, with the conformance suites that they share with the real adapters."""
