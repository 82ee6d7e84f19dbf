"""The embedded stack: real NATS, Postgres and S3 servers from wheels."""
