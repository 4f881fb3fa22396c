"""PyTorch: TorchScript and exported programs."""

from __future__ import annotations

from .contract import Model, tensor
from .errors import Unusable
from .networks import named_outputs, with_outputs
from .tensors import DATATYPES


def load_pytorch(arguments) -> Model:
    import torch

    torch.set_num_threads(arguments.threads)
    exported = arguments.model.endswith(".pt2")
    run, inputs, incomplete = (exported_program if exported else torch_script)(torch, arguments.model)
    names = [field["name"] for field in inputs]

    def convert(result):
        result = result.detach().cpu()
        return (result.float() if result.dtype == torch.bfloat16 else result).numpy()

    def infer(arrays):
        with torch.inference_mode():
            return named_outputs(run(*(torch.from_numpy(arrays[name]) for name in names)), [], convert)

    kind = "exported program" if exported else "TorchScript"
    return with_outputs(f"pytorch {kind}", inputs, infer, incomplete)


def exported_program(torch, path: str):
    program = torch.export.load(path)
    wanted = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [
        tensor(name, torch_datatype(values[name].dtype), map(fixed_length, values[name].shape)) for name in wanted
    ]
    return program.module(), inputs, []


def fixed_length(length) -> int:
    return length if isinstance(length, int) else -1


def torch_datatype(dtype) -> str:
    datatype = DATATYPES.get(str(dtype).replace("torch.", ""))
    if datatype is None:
        raise Unusable(f"an input is of type {dtype}, which the protocol cannot carry: export the model with FP32")
    return datatype


def torch_script(torch, path: str):
    try:
        model = torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        raise Unusable(
            f"the file is no TorchScript archive: save the model with `torch.jit.script(model).save(...)` or as an "
            f"exported program (.pt2); a state_dict has only weights, and needs a custom class ({error})"
        ) from error
    taken = [argument for argument in model.forward.schema.arguments[1:] if not argument.has_default_value()]
    shape = guessed_shape(torch, model) if len(taken) == 1 else None
    inputs = [tensor(argument.name, "FP32", shape or [-1, -1]) for argument in taken]
    incomplete = (
        []
        if shape
        else ["TorchScript does not record the inputs' shapes and types; two dimensions of FP32 are assumed."]
    )
    return model, inputs, incomplete


def guessed_shape(torch, model):
    """The shape of an input whose length the first layer's weights tell and a trial confirms."""
    weights = next((weights for weights in model.parameters() if weights.dim() == 2), None)
    first = next(model.parameters(), None)
    if weights is None or first is not weights:
        return None
    try:
        with torch.inference_mode():
            model(torch.zeros(2, weights.shape[1]))
    except RuntimeError:
        return None
    return [-1, weights.shape[1]]
