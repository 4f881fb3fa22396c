"""What a model of KServe needs of it, without its servers: the call of `preprocess`, `predict` and `postprocess`."""

from .model import InferInput, InferOutput, InferRequest, InferResponse, Model

__all__ = ["InferInput", "InferOutput", "InferRequest", "InferResponse", "Model"]
