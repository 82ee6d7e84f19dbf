"""NATS with JetStream: connection, topology, event log, work queue, fleet."""
