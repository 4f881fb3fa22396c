from typing import Any, Optional

import pydantic


class RequestInput(pydantic.BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: Any


class ResponseOutput(RequestInput):
    pass


class InferenceRequest(pydantic.BaseModel):
    id: Optional[str] = None
    inputs: list[RequestInput]


class InferenceResponse(pydantic.BaseModel):
    model_name: str
    id: Optional[str] = None
    outputs: list[ResponseOutput]
