"""Publishing: `layout` lays repositories out, `check` loads them as a stranger would."""
