from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse


class SumModel(MLModel):
    """Adds up."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise NotImplementedError
