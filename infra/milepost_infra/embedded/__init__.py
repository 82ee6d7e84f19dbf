"""Real NATS, Postgres and S3 servers from wheels, as children of this process."""
