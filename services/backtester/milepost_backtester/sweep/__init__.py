"""Sweeps: one backtest for each combination of parameters, ranked, or chosen and traded forward."""
