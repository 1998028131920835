"""The two built-in executors keep the contract."""

from __future__ import annotations

import pytest

from trimtab.pipeline.inline import Inline
from trimtab.pipeline.processes import Processes
from trimtab.testing.executors import ExecutorConformance


class TestInline(ExecutorConformance):
    is_async = False

    def make(self, session):
        return Inline(session)


@pytest.mark.slow
class TestProcesses(ExecutorConformance):
    def make(self, session):
        return Processes(session)
