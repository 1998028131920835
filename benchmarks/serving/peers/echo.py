"""The limit: an own protocol on uvloop that reads a body and sends a constant, with or without the
model run once per turn of the loop on rows that are packed already."""

import asyncio
import os
import sys

import httptools
import numpy as np
import onnxruntime
import uvloop

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 61\r\n\r\n" + b"x" * 61
)
RUNS = sys.argv[2] == "onnx"
waiting: list[asyncio.Transport] = []

if RUNS:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["MODEL"] + "/package/model.onnx", options)
    numbers, words = np.zeros((32, 20), np.float32), np.full((32, 5), "c1", dtype=object)


def turn() -> None:
    for start in range(0, len(waiting), 32):
        count = min(32, len(waiting) - start)
        session.run(["score"], {"numbers": numbers[:count], "words": words[:count]})
    for transport in waiting:
        transport.write(ANSWER)
    waiting.clear()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if not RUNS:
            self.transport.write(ANSWER)
            return
        if not waiting:
            asyncio.get_running_loop().call_soon(turn)
        waiting.append(self.transport)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
