"""Bar-by-bar backtests that can stop anywhere and go on exactly."""
