"""Running scripts: in which thread or process, in which order, and when to stop."""
