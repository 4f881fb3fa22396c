import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int, UInt8
from nptyping import Float32, NDArray, Shape


class Vision:
    """Looks at pictures."""

    def predict(self, image: UInt8[np.ndarray, "height width 3"], threshold: float = 0.5) -> Float[np.ndarray, "classes"]:
        """Names what is on a picture.

        Parameters
        ----------
        image : uint8 array
            In RGB.
        threshold
            From which a class counts.
        """

    def rotate(self, matrix: NDArray[Shape["3, 3"], Float32]) -> npt.NDArray[np.float64]: ...

    def embed(self, tokens: Int[torch.Tensor, "batch length"]) -> torch.Tensor: ...
