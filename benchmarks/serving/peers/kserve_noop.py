"""KServe's own server around a model that does nothing: what its Open Inference Protocol costs."""

import sys

import kserve


class Nothing(kserve.Model):
    def __init__(self) -> None:
        super().__init__("loans")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ANN001, ANN201
        output = kserve.InferOutput("score", [1], "FP64", data=[0.5])
        return kserve.InferResponse("1", "loans", [output])


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1)
    server.start([Nothing()])
