"""Tensors in the protocol's binary form: little endian, row-major, a u32 length before each element of BYTES."""

from __future__ import annotations

import json
import struct

from .optional import np

NUMPY_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
DATATYPES = {name: datatype for datatype, name in NUMPY_NAMES.items()}
DTYPES = {datatype: np.dtype(name) for datatype, name in NUMPY_NAMES.items()} if np else {}


def read_tensors(specs, buffer, offset: int) -> dict:
    """Arrays by name, which look into `buffer` without copying where they can."""
    arrays = {}
    for spec in specs:
        size = spec["parameters"]["binary_data_size"]
        dtype = DTYPES.get(spec["datatype"])
        if dtype is None:
            array = read_texts(buffer, offset, size)
        else:
            array = np.frombuffer(buffer, dtype, size // dtype.itemsize, offset)
            if not array.flags.aligned:
                array = array.copy()
        arrays[spec["name"]] = array.reshape(spec["shape"])
        offset += size
    return arrays


def read_texts(buffer, offset: int, size: int):
    texts, end = [], offset + size
    while offset < end:
        (length,) = struct.unpack_from("<I", buffer, offset)
        offset += 4 + length
        texts.append(buffer[offset - length : offset].decode())
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def write_tensor(name: str, array):
    """The header entry of an output and its bytes."""
    datatype = DATATYPES.get(array.dtype.name)
    data = write_texts(array) if datatype is None else array.tobytes()
    entry = (
        f'{{"name":{quoted(name)},"datatype":"{datatype or "BYTES"}","shape":{list(array.shape)},'
        f'"parameters":{{"binary_data_size":{len(data)}}}}}'
    )
    return entry, data


def write_texts(array) -> bytes:
    parts = []
    for element in array.ravel().tolist():
        data = element if isinstance(element, bytes) else str(element).encode()
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


def quoted(name: str, known={}) -> str:  # noqa: B006 (the default is the cache)
    return known.get(name) or known.setdefault(name, json.dumps(name))


def datatype_of(dtype) -> str:
    """The protocol's name for what is sent of arrays of this type."""
    return DATATYPES.get(np.dtype(dtype).name, "BYTES")
