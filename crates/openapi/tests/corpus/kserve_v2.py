from kserve import InferRequest, InferResponse, Model


class Doubler(Model):
    async def predict(self, payload: InferRequest, headers: dict = None) -> InferResponse:
        """Doubles tensors."""
        raise NotImplementedError
