"""The built-in task: trainings over bars, from features and labels to samples and models."""
