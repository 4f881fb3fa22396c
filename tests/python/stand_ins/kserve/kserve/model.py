import enum
import inspect


class InferenceVerb(enum.Enum):
    EXPLAIN = 1
    PREDICT = 2


class InferInput:
    def __init__(self, name, shape, datatype, data=None, parameters=None):
        self.name, self.shape, self.datatype, self.data = name, shape, datatype, data


class InferOutput(InferInput):
    pass


class InferRequest:
    def __init__(self, model_name, infer_inputs):
        self.model_name, self.inputs = model_name, infer_inputs


class InferResponse:
    def __init__(self, response_id, model_name, infer_outputs):
        self.id, self.model_name, self.outputs = response_id, model_name, infer_outputs

    def to_rest(self):
        outputs = [{"name": o.name, "shape": o.shape, "datatype": o.datatype, "data": o.data} for o in self.outputs]
        return {"id": self.id, "model_name": self.model_name, "outputs": outputs}, None


class Model:
    def __init__(self, name):
        self.name, self.ready = name, False

    def load(self):
        self.ready = True
        return self.ready

    async def __call__(self, body, verb=InferenceVerb.PREDICT, headers=None):
        step = self.explain if verb == InferenceVerb.EXPLAIN else self.predict
        payload = await awaited(self.preprocess(body, headers))
        response = await awaited(step(payload, headers))
        return await awaited(self.postprocess(response, headers)), {}

    async def preprocess(self, payload, headers=None):
        return payload

    async def postprocess(self, result, headers=None, response_headers=None):
        return result


async def awaited(result):
    return await result if inspect.isawaitable(result) else result
