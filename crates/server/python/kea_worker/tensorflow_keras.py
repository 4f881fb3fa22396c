"""Keras models and TensorFlow's SavedModels."""

from __future__ import annotations

import importlib.util
import os

from .contract import Model, tensor
from .errors import Unusable, name_of
from .networks import named_outputs, with_outputs
from .tensors import DATATYPES


def load_tensorflow(arguments) -> Model:
    if arguments.model.endswith((".keras", ".h5")):
        return load_keras(arguments)
    tensorflow = tensorflow_with(arguments.threads)
    loaded = tensorflow.saved_model.load(arguments.model)
    signatures = loaded.signatures
    if not signatures:
        raise Unusable("the SavedModel has no signature: save it with `model.export(folder)`, or give `signatures=`")
    name = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
    run = signatures[name]
    inputs = [field_of_spec(name, spec) for name, spec in run.structured_input_signature[1].items()]

    def infer(arrays, loaded=loaded):  # the signature lives only as long as what it was loaded with
        results = run(**{name: tensorflow.constant(array) for name, array in arrays.items()})
        return [(name, result.numpy()) for name, result in sorted(results.items())]

    return with_outputs(f"tensorflow {name}", inputs, infer)


def load_keras(arguments) -> Model:
    tensorflow = tensorflow_with(arguments.threads) if keras_backend() == "tensorflow" else None
    import keras

    model = keras.saving.load_model(arguments.model, compile=False)
    if not getattr(model, "inputs", None):
        raise Unusable(
            "the Keras model has no recorded inputs: call it once before `model.save`, or build it with `keras.Input`"
        )
    specs = [tensor_.name if len(model.inputs) > 1 else named_or("input", tensor_.name) for tensor_ in model.inputs]
    inputs = [field_of_spec(name, spec) for name, spec in zip(specs, model.inputs)]
    forward = forward_pass(keras, model, tensorflow)
    names = getattr(model, "output_names", None) or []

    def infer(arrays):
        results = forward(*(keras.ops.convert_to_tensor(arrays[name]) for name in specs))
        return named_outputs(results, names, keras.ops.convert_to_numpy)

    return with_outputs(f"keras {name_of(model)}", inputs, infer)


def tensorflow_with(threads: int):
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow


def field_of_spec(name: str, spec) -> dict:
    """A field for anything that has TensorFlow's or Keras' `shape` and `dtype`."""
    dtype = getattr(spec.dtype, "name", spec.dtype)
    datatype = "BYTES" if dtype == "string" else DATATYPES.get(dtype)
    if datatype is None:
        raise Unusable(
            f"input `{name}` is of type {dtype}, which the protocol cannot carry: export the model with FP32"
        )
    known = spec.shape is not None and getattr(spec.shape, "rank", 0) is not None
    return tensor(
        name, datatype, [-1 if length is None else int(length) for length in spec.shape] if known else [-1, -1]
    )


def keras_backend() -> str:
    """The backend that the environment names, else the first one that is installed."""
    if "KERAS_BACKEND" not in os.environ:
        backends = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
        os.environ["KERAS_BACKEND"] = (backends or ["tensorflow"])[0]
    return os.environ["KERAS_BACKEND"]


def forward_pass(keras, model, tensorflow):
    """A function of the inputs, one after the other, to the outputs; a graph where TensorFlow runs it."""
    structure = getattr(model, "_inputs_struct", None)

    def forward(*arrays):
        packed = arrays[0] if structure is None else keras.tree.pack_sequence_as(structure, list(arrays))
        return model(packed, training=False)

    return forward if tensorflow is None else tensorflow.function(forward, reduce_retracing=True)


def named_or(default: str, name: str) -> str:
    """A tensor's own name, unless Keras made it up."""
    return default if name.startswith(("keras_tensor", "input_layer")) else name
