"""Frames over the socket that the server shares with the worker.

Each way: a u32 length of the JSON header, a u64 length of the tensors, the header, the tensors one after the other.
"""

from __future__ import annotations

import json
import os
import socket
import struct

PREFIX = struct.Struct("<IQ")
ROOM = 1 << 16
KEPT_ROOM = 1 << 24  # a larger buffer is given back after its request


class Channel:
    """Frames over a socket, read into one buffer that is used again and again."""

    def __init__(self, stream: socket.socket):
        self.stream = stream
        self.buffer = bytearray(ROOM)
        self.end = 0  # of the frame that was read last
        self.filled = 0  # bytes in the buffer, of which those after `end` belong to the next frame

    @classmethod
    def over_standard_input(cls) -> Channel:
        """Takes the socket away from standard input, so that nothing that the model does can reach it."""
        stream = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return cls(stream)

    def receive(self):
        """The next frame's header and where its tensors begin in the buffer; `None` when the server is gone."""
        self._make_ready()
        if not self._read_until(PREFIX.size):
            return None
        header, tensors = PREFIX.unpack_from(self.buffer)
        start = PREFIX.size + header
        self.end = start + tensors
        self._make_room(self.end)
        if not self._read_until(self.end):
            return None
        return json.loads(self.buffer[PREFIX.size : start]), start

    def _read_until(self, size: int) -> bool:
        while self.filled < size:
            try:
                read = self.stream.recv_into(memoryview(self.buffer)[self.filled :])
            except ConnectionError:
                return False
            if read == 0:
                return False
            self.filled += read
        return True

    def _make_ready(self) -> None:
        ahead = self.buffer[self.end : self.filled]
        if len(self.buffer) > KEPT_ROOM:
            self.buffer = bytearray(max(ROOM, len(ahead)))
        self.buffer[: len(ahead)] = ahead
        self.end, self.filled = 0, len(ahead)

    def _make_room(self, size: int) -> None:
        # A new buffer, since the old one cannot grow while an array still looks into it.
        if size > len(self.buffer):
            read = self.buffer[: self.filled]
            self.buffer = bytearray(size)
            self.buffer[: len(read)] = read

    def send(self, header: bytes, tensors=()) -> None:
        size = sum(map(len, tensors))
        self.stream.sendall(b"".join((PREFIX.pack(len(header), size), header, *tensors)))

    def send_json(self, header) -> None:
        self.send(json.dumps(header).encode())
