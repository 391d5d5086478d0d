"""Prefill and decode pools of every split, against aggregated engines of equal cost."""
