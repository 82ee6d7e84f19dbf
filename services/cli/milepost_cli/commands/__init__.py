"""One module for each command, or for each group of them; each has an `app`."""
