"""Answers to requests of one row as they go over the wire, status line and all, written in one go.

Byte for byte what the contract's own `write` and `wire.to_bytes` make of the same answer; of a model
with one score per row. All that one endpoint and model repeat is laid out beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from trimtab.model.signature import Class, Signature
from trimtab.serve.protocols import oip
from trimtab.serve.reply import Response
from trimtab.serve.shell.wire import to_bytes

encode: Final = msgspec.json.encode

Writer = Callable[[str, str, bytes, Class], bytes]
"""Prediction id, the client's own name for the request or "", score in JSON and decision to an answer."""


def many(
    write: Writer,
    ids: Sequence[str],
    names: Sequence[str],
    scores: list[float],
    decisions: Sequence[Class],
) -> list[bytes]:
    """The answers to requests that were scored together."""
    return list(map(write, ids, names, encode(scores)[1:-1].split(b","), decisions))


def typed(name: str, label: str, signature: Signature) -> Writer:
    """`/predict`: see `typed.write`."""
    start = b'{"model":%b,"model_version":%b,"request_id":"' % (encode(name), encode(label))
    middle = _plain(start) + b'%b","predictions":[{"id":"%b",'
    if signature.task == "regression":
        line = _head(label) + middle + b'"value":%b}]}'
        size = len(middle % (b"", b"")) + len(b'"value":}]}')

        def valued(made: str, _: str, value: bytes, __: Class) -> bytes:
            named = made.encode()
            return line % (size + 2 * len(named) + len(value), named, named, named, value)

        return valued
    line = _head(label) + middle + b'"decision":%b,"score":%b}]}'
    size = len(middle % (b"", b"")) + len(b'"decision":,"score":}]}')

    def decided(made: str, _: str, score: bytes, decision: Class) -> bytes:
        named, chosen = made.encode(), encode(decision)
        length = size + 2 * len(named) + len(chosen) + len(score)
        return line % (length, named, named, named, chosen, score)

    return decided


def tensors(name: str, label: str, signature: Signature) -> Writer:
    """The Open Inference Protocol: see `oip.write`."""
    score, *others = oip.outputs_of(signature)
    start = b'{"model_name":%b,"model_version":%b,"id":' % (encode(name), encode(label))
    shown = b'"datatype":%b,"shape":[1],"data":[%b]}'
    outputs_at = [
        b'{"name":%b,' % encode(one["name"]) + shown % (encode(one["datatype"]), b"%b")
        for one in (score, *others)
    ]
    body = _plain(start) + b'%b,"outputs":[' + b",".join(outputs_at) + b"]}"
    line = _head(label) + body
    size = len(body % ((b"",) * (1 + len(outputs_at))))
    is_text = any(one["name"] == "decision" and one["datatype"] == "BYTES" for one in others)

    def answer(made: str, named: str, score: bytes, decision: Class) -> bytes:
        cells = [encode(named or made), score]
        if len(others) > 1:
            cells.append(encode(str(decision) if is_text else decision))
        cells.append(encode(made))
        return line % (size + sum(map(len, cells)), made.encode(), *cells)

    return answer


def _head(label: str) -> bytes:
    """Status line and headers, with places for the body's length and the request's id."""
    shown = Response(200, b"", {"x-request-id": "\0", "x-model-version": label})
    head = to_bytes(shown, is_head=True, is_last=False)
    return _plain(head).replace(b"length: 0\r\n", b"length: %d\r\n", 1).replace(b"\0", b"%b", 1)


def _plain(text: bytes) -> bytes:
    """Text that stays as it is where a format is filled in."""
    return text.replace(b"%", b"%%")
