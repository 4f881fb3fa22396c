"""Starts the real worker as the model server does, and speaks to it over its socket."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

WORKER = Path(__file__).resolve().parents[2] / "crates" / "server" / "python"
PREFIX = struct.Struct("<IQ")
NAMES = {"BOOL": "bool", "INT64": "int64", "INT32": "int32", "FP32": "float32", "FP64": "float64"}
DATATYPES = {name: datatype for datatype, name in NAMES.items()}


class WorkerGone(Exception):
    """The worker closed the socket."""


class Worker:
    def __init__(self, framework, model, *, file=None, class_name=None, threads=1, cwd=None, python=sys.executable):
        self.stream, theirs = socket.socketpair()
        command = [python, "-u", str(WORKER), "--framework", framework, "--threads", str(threads)]
        command += ["--model", str(model)]
        if file is not None:
            command += ["--file", str(file), "--class", class_name]
        pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs:
            self.process = subprocess.Popen(command, stdin=theirs, stdout=pipe, stderr=pipe, cwd=cwd, env=environment)
        self.captured = {}
        self.readers = [self._capture(name) for name in ("stdout", "stderr")]
        self.next_id = 0
        self.started, _ = self.receive()

    def _capture(self, name):
        def read():
            self.captured[name] = getattr(self.process, name).read().decode()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        return reader

    @property
    def contract(self):
        assert self.started["event"] == "ready", self.started
        return self.started["contract"]

    @property
    def predict(self):
        (function,) = self.contract["functions"]
        return function

    def send(self, header, tensors=b""):
        header = json.dumps(header).encode()
        self.stream.sendall(PREFIX.pack(len(header), len(tensors)) + header + tensors)

    def receive(self):
        header, tensors = PREFIX.unpack(self._exactly(PREFIX.size))
        return json.loads(self._exactly(header)), self._exactly(tensors)

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            read = self.stream.recv(size - len(data))
            if not read:
                raise WorkerGone
            data += read
        return bytes(data)

    def ask(self, header, tensors=b""):
        self.next_id += 1
        self.send({"id": self.next_id, **header}, tensors)
        answer, tensors = self.receive()
        assert answer.pop("id") == self.next_id
        return answer, tensors

    def infer_raw(self, arrays, function="predict"):
        specs, parts = zip(*(written(name, np.asarray(array)) for name, array in arrays.items()))
        return self.ask({"op": "infer", "function": function, "inputs": list(specs)}, b"".join(parts))

    def infer(self, **arrays):
        answer, tensors = self.infer_raw(arrays)
        assert "error" not in answer, answer["error"]
        return read_outputs(answer["outputs"], tensors)

    def infer_rows(self, rows):
        """Rows of all features as one matrix."""
        return self.infer(input=np.asarray(rows, dtype=np.float64))

    def infer_example(self):
        arrays = {field["name"]: example_of(field, self.predict["layout"]) for field in self.predict["inputs"]}
        kinds = {array.dtype for array in arrays.values()}
        if self.predict["layout"] == "features" and len(kinds) == 1 and np.dtype(object) not in kinds:
            arrays = {"input": np.column_stack(list(arrays.values()))}
        return self.infer(**arrays)

    def call_raw(self, function, **arguments):
        return self.ask({"op": "call", "function": function, "arguments": arguments})[0]

    def call(self, function, **arguments):
        answer = self.call_raw(function, **arguments)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def hang_up(self):
        """Closes the socket and waits for the worker's end: its exit status."""
        self.stream.close()
        return self.wait()

    def wait(self):
        status = self.process.wait(timeout=60)
        for reader in self.readers:
            reader.join(timeout=60)
        return status

    def output(self, name="stderr"):
        self.hang_up()
        return self.captured[name]

    def close(self):
        self.stream.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def example_of(field, layout):
    kind = field["type"].get("scalar") or field["type"]["tensor"]
    value = [field["example"]] if layout == "features" else field["example"]
    return np.array(value, dtype=NAMES.get(kind["datatype"], object))


def written(name, array):
    datatype = DATATYPES.get(array.dtype.name, "BYTES")
    data = array.tobytes()
    if datatype == "BYTES":
        texts = [str(text).encode() for text in array.ravel()]
        data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": parameters}, data


def read_outputs(specs, data):
    outputs, offset = {}, 0
    for spec in specs:
        size = spec["parameters"]["binary_data_size"]
        part = data[offset : offset + size]
        offset += size
        array = texts_of(part) if spec["datatype"] == "BYTES" else np.frombuffer(part, NAMES[spec["datatype"]])
        outputs[spec["name"]] = array.reshape(spec["shape"])
    assert offset == len(data)
    return outputs


def texts_of(data):
    texts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        texts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return np.array(texts, dtype=object)


def input_named(function, name):
    return next(field for field in function["inputs"] if field["name"] == name)


def datatype(field):
    return next(iter(field["type"].values()))["datatype"]
