"""Training a reward model on process and outcome pairs."""
