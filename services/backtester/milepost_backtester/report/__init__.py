"""A run for people: one page that needs nothing else, and two pictures."""
