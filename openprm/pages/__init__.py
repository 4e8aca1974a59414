"""What the tree page is made of; see `openprm.tree_page`."""
