"""Publishing: `layout` writes repositories as folders, `upload` sends them to the Hub."""
