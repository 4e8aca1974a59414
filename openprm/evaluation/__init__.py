"""How well a reward model chooses, ranks and scales."""
