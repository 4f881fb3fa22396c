"""Classes that were written for other systems, called in the way of those by their own packages."""

from __future__ import annotations

import inspect
import types

from .errors import Unusable


def adapted(kind, name: str):
    """What calls `kind` as the system calls it that it was written for; None where it is a class of no such system."""
    if type(kind).__module__.partition(".")[0] == "_bentoml_sdk":
        return Bento(kind)
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__] if isinstance(kind, type) else []
    if "kserve" in packages:
        return KServe(kind, name)
    if "mlserver" in packages:
        return MlServer(kind, name)
    if "mlrun" in packages:
        raise Unusable(
            f"`{name}` is a server of mlrun, which needs that system's context to run: put what it does into a class "
            "of its own with `load` and `predict`"
        )
    return None


class KServe:
    """A `kserve.Model`, whose call is `preprocess`, `predict` and `postprocess`."""

    def __init__(self, kind, name: str):
        self.model = kind(name)

    def load(self):
        return self.model.load()

    async def predict(self, **payload):
        return await self.call(payload)

    async def explain(self, **payload):
        from kserve.model import InferenceVerb

        return await self.call(payload, verb=InferenceVerb.EXPLAIN)

    async def call(self, payload: dict, **options):
        answered = await self.model(self.request(payload), headers={}, **options)
        response = answered[0] if isinstance(answered, tuple) else answered
        return response.to_rest()[0] if hasattr(response, "to_rest") else response

    def request(self, payload: dict):
        """Tensors come as an object of the protocol, as they do from KServe's own server; anything else as it is."""
        tensors = payload.get("inputs")
        if not isinstance(tensors, list) or not all(isinstance(t, dict) and "datatype" in t for t in tensors):
            return payload
        from kserve import InferInput, InferRequest

        return InferRequest(self.model.name, [InferInput(**tensor) for tensor in tensors])


class MlServer:
    """An `mlserver.MLModel`. Where it takes its inputs decoded, they are given by name."""

    def __init__(self, kind, name: str):
        from mlserver import ModelSettings

        self.model = kind(ModelSettings(name=name, implementation=kind))
        decoded = inspect.getattr_static(kind, "predict")
        decoded = getattr(decoded, "__wrapped__", None)
        self.predict = types.MethodType(decoded, self.model) if decoded else self.infer

    def load(self):
        return self.model.load()

    async def infer(self, **payload):
        from mlserver.types import InferenceRequest

        response = await self.model.predict(InferenceRequest.model_validate(payload))
        return response.model_dump(mode="json", exclude_none=True)


class Bento:
    """A service of bentoml, whose functions are its `api` methods."""

    def __init__(self, service):
        self.service, self.instance = service, service()

    async def load(self):
        """What the class has run once it is there."""
        for _, hook in inspect.getmembers(self.instance, inspect.ismethod):
            if getattr(hook, "__bentoml_startup_hook__", False):
                done = hook()
                if inspect.isawaitable(done):
                    await done

    def __getattr__(self, name: str):
        if name not in self.service.apis:
            raise AttributeError(name)
        return getattr(self.instance, name)
