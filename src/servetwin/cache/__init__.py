"""KV blocks, prefixes and prompts that are kept: shared by the simulator and the engine."""
