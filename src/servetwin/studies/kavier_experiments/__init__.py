"""The numbered experiments of Kavier's reproducibility document, one study each."""
