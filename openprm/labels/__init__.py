"""Labels of single steps, from any source, and what is made of them: pairs and points to train on.

A row is a `schema.StepLabels`. Labels are of one of two kinds, which are not the same and are never mixed: `correct`
(this step and all before it are right) and `value` (the chance of a right end from here; a wrong step may be mended,
and a right one is no promise).
"""
