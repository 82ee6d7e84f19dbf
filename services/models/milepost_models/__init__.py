"""Models over market bars: what a training makes them from and what a strategy runs them with."""
