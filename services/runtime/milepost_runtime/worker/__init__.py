"""The worker: a host that owns leases and uploads, and one computing child for each operation."""
