"""The milepost command."""
