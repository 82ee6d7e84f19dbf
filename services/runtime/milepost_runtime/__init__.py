"""What every Milepost worker and service runs on: bus, event log, artifact store, checkpoints."""
