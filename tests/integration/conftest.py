"""What the tests that kill share: the project whose world changes."""

import pytest

DRIFTING = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
roc_auc = { min = 0.7 }
[serve]
rollout = ["shadow", "50%", "100%"]
labels = "outcomes/*.csv"
event_time = "client"
[retrain]
on = ["drift", "requirement"]
min_rows = 150
"""


@pytest.fixture(scope="session")
def drifting_project() -> str:
    """The project file of a life with a change of meaning, a retrain and a rollout."""
    return DRIFTING
