"""Pages to look at trees, and the demo."""
