"""Presets: short YAML files that declare a whole run, stage by stage (see `openprm.presets.preset`)."""
