"""What runs beside the engine in the computing process: the bridge and the cancellation token."""
