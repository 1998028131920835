"""How an endpoint is asked and answers: traffic, latency, refusals, failures, a source that stands still."""
