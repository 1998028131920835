"""What to do about each kind of incident that traffic shows, in words."""

from __future__ import annotations

from typing import Final

RUNBOOK: Final[dict[str, str]] = {
    "data drift": "Inputs moved. Look at the features named here: did the population change, or a "
    "source? While quality holds nothing needs doing; else labels and a retrain settle it.",
    "broken input": "An upstream column broke. Mend the source; predictions on these rows are not "
    "to be trusted, and what was refused has none. Retraining is not the answer.",
    "skew": "Values that training never saw. Check the source's encoding, or collect labels for them.",
    "broken join": "Columns no longer belong together although each looks well. Check the join upstream.",
    "concept drift": "The same inputs now lead to other outcomes. Labelled rows since the change teach a new "
    "model: proposed once there are enough of them where [retrain] on names drift; else a person "
    "decides.",
    "traffic change": "Far more or fewer rows come than usual. Ask the client: an outage, a retry loop, "
    "or a change of what is sent?",
    "latency change": "Answers take longer than usual. Look at the endpoint's machine and at what is "
    "asked; `trimtab bench` measures what it can do.",
    "errors": "The model fails on requests: the endpoint's log says on what. `trimtab rollback` goes back.",
    "requirement": "A requirement no longer holds in production. Retraining is proposed where "
    "[retrain] says so; else a person decides.",
}
