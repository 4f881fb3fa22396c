"""Loads one model and runs it for KEA's model server, which does all the rest: HTTP, JSON, validation, batching.

Nothing but Python's standard library, numpy and the model's own packages is needed; Python 3.9 or newer.
"""
