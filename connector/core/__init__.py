"""Pure values and decisions: no I/O, clock, sleep, threads, log or environment."""
