"""Answers to requests of one row as they go over the wire, status line and all, written in one go.

Byte for byte what the contract's own `write` and `wire.to_bytes` make of the same answer; of a model
with one score per row. All that one endpoint and model repeat is laid out beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trimtab.model.load import Outputs
from trimtab.model.signature import Signature
from trimtab.serve import oip
from trimtab.serve.reply import Response, encode
from trimtab.serve.wire import to_bytes

Writer = Callable[[Sequence[str], Sequence[str], Outputs], list[bytes]]
"""Prediction ids, the clients' own names for the requests or "", and outputs to whole answers."""


def typed(name: str, label: str, signature: Signature) -> Writer:
    """`/predict`: see `typed.write`."""
    start = b'{"model":%b,"model_version":%b,"request_id":"' % (encode(name), encode(label))
    middle = _plain(start) + b'%b","predictions":[{"id":"%b",'
    if signature.task == "regression":
        line = _head(label) + middle + b'"value":%b}]}'
        size = len(middle % (b"", b"")) + len(b'"value":}]}')

        def values(ids: Sequence[str], _: Sequence[str], outputs: Outputs) -> list[bytes]:
            return [
                line % (size + 2 * len(made) + len(value), made, made, made, value)
                for made, value in zip(map(str.encode, ids), _numbers(outputs), strict=True)
            ]

        return values
    line = _head(label) + middle + b'"decision":%b,"score":%b}]}'
    size = len(middle % (b"", b"")) + len(b'"decision":,"score":}]}')

    def decisions(ids: Sequence[str], _: Sequence[str], outputs: Outputs) -> list[bytes]:
        return [
            line
            % (size + 2 * len(made) + len(chosen) + len(score), made, made, made, chosen, score)
            for made, chosen, score in zip(
                map(str.encode, ids), map(encode, outputs.decision), _numbers(outputs), strict=True
            )
        ]

    return decisions


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

    def answers(ids: Sequence[str], names: Sequence[str], outputs: Outputs) -> list[bytes]:
        scores, found = _numbers(outputs), []
        for place, made in enumerate(ids):
            cells = [encode(names[place] or made), scores[place]]
            if len(others) > 1:
                chosen = outputs.decision[place]
                cells.append(encode(str(chosen) if is_text else chosen))
            cells.append(b'"%b"' % made.encode())
            found.append(line % (size + sum(map(len, cells)), made.encode(), *cells))
        return found

    return answers


def _head(label: str) -> bytes:
    """Status line and headers, with places for the body's length and the request's id."""
    shown = Response(200, b"", {"x-request-id": "\0", "x-model-version": label})
    head = to_bytes(shown, is_head=True, is_last=False)
    return _plain(head).replace(b"length: 0\r\n", b"length: %d\r\n", 1).replace(b"\0", b"%b", 1)


def _plain(text: bytes) -> bytes:
    """Text that stays as it is where a format is filled in."""
    return text.replace(b"%", b"%%")


def _numbers(outputs: Outputs) -> list[bytes]:
    """Scores in JSON."""
    return encode(outputs.score.tolist())[1:-1].split(b",")
