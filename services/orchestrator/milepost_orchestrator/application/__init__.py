"""What the orchestrator does, in terms of ports."""
