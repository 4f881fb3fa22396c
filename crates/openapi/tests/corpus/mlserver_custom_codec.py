"""Reads handwriting behind MLServer."""

from typing import List, Optional

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args
from mlserver.types import InferenceRequest, InferenceResponse


class _Runtime(MLModel):
    async def load(self) -> bool:
        return True


class Handwriting(_Runtime):
    """Digits from pixels."""

    @decode_args
    async def predict(self, images: np.ndarray, hints: Optional[List[str]] = None) -> np.ndarray:
        """Reads digits.

        Args:
            images: 28 by 28 pixels each.
        """
