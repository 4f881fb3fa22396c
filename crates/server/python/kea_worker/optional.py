"""numpy, or `None` where it is not installed: a custom class may do without."""

try:
    import numpy as np
except ImportError:
    np = None

__all__ = ["np"]
