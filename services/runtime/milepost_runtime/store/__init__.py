"""The artifact store: one port, S3 and a local directory behind it."""
