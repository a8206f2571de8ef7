"""Training and evaluation: the loop, the schedule, checkpoints, the run folder and its log."""
