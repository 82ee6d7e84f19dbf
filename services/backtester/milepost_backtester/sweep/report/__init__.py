"""A sweep for people: one page that needs nothing else, and pictures."""
