"""Step rewards and scores of a reward model. These modules travel with published models: they import nothing else of
ours."""
