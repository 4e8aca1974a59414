"""What the tree page is made of; see `openprm.viewer.tree_page`."""
