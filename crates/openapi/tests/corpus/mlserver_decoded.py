from typing import List

import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args


class Reviews(MLModel):
    @decode_args
    async def predict(self, texts: List[str], weights: np.ndarray) -> List[str]:
        """Tells how reviews are meant."""
        return texts
