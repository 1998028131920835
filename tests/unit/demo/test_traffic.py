from __future__ import annotations

import json
import socket
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest

from trimtab.demo.command import Failure
from trimtab.demo.loans import World
from trimtab.demo.traffic import INPUTS, OUTCOME, Outcomes, send, write_outcomes

WORLD = World(seed=3)


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, int, dict]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, self.client_address[1], body))
        said = [
            {"id": f"p{len(self.seen)}-{i}", "decision": row["income"] > 2000, "score": 0.5}
            for i, row in enumerate(body["rows"])
        ]
        self._answer(200, {"model_version": "loans@v1", "predictions": said})

    def _answer(self, status, document):
        reply = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args):
        pass


class Refusing(Endpoint):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(422, {"error": "row 0 has no income"})


@pytest.fixture
def serve():
    running = []

    def start(handler):
        handler.seen = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_applications_are_sent_in_batches_over_one_connection(serve):
    rows, heard = WORLD.applications(0, 45), []
    answered = send(serve(Endpoint), rows, batch=20, sent=heard.append)
    assert heard == [20, 20, 5]
    assert {path for path, _, _ in Endpoint.seen} == {"/predict"}
    assert len({port for _, port, _ in Endpoint.seen}) == 1
    assert answered.drop("prediction_id", "model", "decision", "score").equals(rows)
    assert answered["prediction_id"].to_list()[19:21] == ["p1-19", "p2-0"]
    assert (answered["decision"] == (rows["income"] > 2000)).all()
    assert set(answered["model"]) == {"loans@v1"}


def test_a_request_holds_the_models_inputs_and_event_times_and_nothing_else(serve):
    rows = WORLD.applications(0, 300)
    send(serve(Endpoint), rows, batch=300)
    body = Endpoint.seen[0][2]
    assert set(body) == {"rows", "event_time"}
    assert body["rows"] == rows.select(INPUTS).to_dicts()
    assert any(row["years"] is None for row in body["rows"])
    times = [datetime.fromisoformat(text) for text in body["event_time"]]
    assert times == rows["applied_at"].to_list()


def test_a_refused_request_says_why(serve):
    with pytest.raises(Failure, match="/predict answered 422: .*row 0 has no income"):
        send(serve(Refusing), WORLD.applications(0, 5))


def test_nobody_listens():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(Failure, match="does not answer"):
            send(url, WORLD.applications(0, 5))


def test_outcomes_are_written_whole_and_once(tmp_path):
    rows = answered(0)
    path = write_outcomes(tmp_path / "outcomes", rows, WORLD.midnight(2))
    found = pl.read_parquet(path)
    assert path.name == "2025-03-09.parquet"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert found.columns == OUTCOME
    assert set(found["labelled_at"]) == {WORLD.midnight(2)}
    assert found.drop("labelled_at").equals(rows.select(found.drop("labelled_at").columns))
    with pytest.raises(Failure, match="are there already"):
        write_outcomes(tmp_path / "outcomes", rows, WORLD.midnight(2))


def test_outcomes_arrive_late(tmp_path):
    outcomes, paths = Outcomes(tmp_path, delay=2), {}
    for day in range(4):
        paths[day] = outcomes.arrive(day, WORLD.midnight(day))
        outcomes.expect(day, answered(day))
    assert [day for day, path in paths.items() if path] == [2, 3]
    assert set(pl.read_parquet(paths[2])["application_id"]) == set(answered(0)["application_id"])
    both = pl.read_parquet(outcomes.arrive(9, WORLD.midnight(9)))
    assert set(both["prediction_id"]) == {
        *answered(2)["prediction_id"],
        *answered(3)["prediction_id"],
    }
    assert outcomes.arrive(10, WORLD.midnight(10)) is None


def answered(day):
    rows = WORLD.applications(day, 10)
    return rows.with_columns(prediction_id=pl.format("{}-p", "application_id"))
