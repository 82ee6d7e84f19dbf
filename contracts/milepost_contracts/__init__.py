"""The words Milepost speaks on the bus: commands, events, specs and manifests.

Pydantic only. Whoever wants to talk to Milepost needs this distribution and nothing else.
"""
