"""Classifies images that come as arrays."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

CLASSES = ("cat", "dog")
Image = UInt8[np.ndarray, "height width 3"]


class Detection(TypedDict):
    box: Float[np.ndarray, "4"]
    label: str
    mask: npt.NDArray[np.bool_]


class Classifier(torch.nn.Module):
    """Cats and dogs."""

    @torch.inference_mode()
    def predict(self, image: Image, scale: float = 1 / 255) -> Float32[Tensor, "2"]:
        """Probability of each class.

        Args:
            image: Rows of pixels, each red, green and blue.
            scale: Factor of each value.
        """

    @torch.no_grad()
    def embed(self, images: Float[Tensor, "batch 3 224 224"]) -> Float[Tensor, "batch 512"]:
        """Vectors of images."""

    def detect(self, image: Image, *, threshold: float = 0.5) -> list[Detection]:
        """Finds animals."""

    def tokens(self, ids: Int[Tensor, "*batch seq"], bias: npt.NDArray[np.float64] | None = None) -> torch.LongTensor:
        """Something of any number of dimensions."""
