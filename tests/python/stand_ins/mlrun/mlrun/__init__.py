"""What a file of an mlrun server needs to be imported."""

from . import serving

__all__ = ["serving"]
