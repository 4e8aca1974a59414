"""Step rewards and scores of a reward model.

These modules travel with published models, so they import only each other, torch, transformers and its dependencies.
"""
