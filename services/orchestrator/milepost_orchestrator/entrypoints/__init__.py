"""Bus, HTTP and the process."""
