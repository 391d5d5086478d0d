"""Kavier's command line and its published experiments."""
