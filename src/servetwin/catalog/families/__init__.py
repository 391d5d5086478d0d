"""From the config of a family of architectures to a Model, one module a kind of family."""
