"""Metrics for `evaluate.load`, each in a folder of its name: thin wrappers of the package's own functions.

>>> import evaluate
>>> from importlib.resources import files
>>> evaluate.load(str(files("openprm.evaluation.metrics") / "best_of_n")).name
'best_of_n'
"""
