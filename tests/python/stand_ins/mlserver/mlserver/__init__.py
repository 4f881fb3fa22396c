"""What a model of MLServer needs of mlserver, without its servers."""

import pydantic


class ModelSettings(pydantic.BaseModel):
    name: str
    implementation: type


class MLModel:
    def __init__(self, settings):
        self.name = settings.name

    async def load(self) -> bool:
        return True

    async def predict(self, payload):
        raise NotImplementedError
