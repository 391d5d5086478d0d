"""Named, reproducible experiments: one file each."""
