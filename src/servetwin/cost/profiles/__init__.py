"""Measured kernel timings -> cost models of the level `profiled`."""
