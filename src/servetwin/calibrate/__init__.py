"""Measurements -> cost models: fits, and how they do on what they were not fitted to."""
