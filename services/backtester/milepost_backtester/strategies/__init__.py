"""Strategies that ship with Milepost, and how those of teams are found."""
