"""What every notifier must satisfy: subclass, give it a notifier and an eye on its far side."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from trimtab.loop.alerts.notifiers import Message, Notifier


def told() -> Message:
    """A message with every field filled."""
    return Message(
        key="0123-opened-x",
        event="opened",
        incident="0123",
        kind="broken input",
        title="income is missing in 30 % of rows",
        severity="page",
        project="goods",
        endpoint="goods",
        owner="risk@example.org",
        runbook="Mend the source.",
        since="2026-03-01T00:00:00Z",
        opened_at="2026-03-01T01:00:00Z",
        features=["income"],
        why="an input is broken",
        link="http://127.0.0.1:8746/monitor",
    )


class NotifierConformance:
    """Implementers override `notifier` and `arrived`, and the others where they have them.

    `arrived` lists what tells the messages apart that reached the far side, oldest first, as
    `key_of` says it of a message. `secret` is a text that must
    never be in what is returned or raised.
    """

    @pytest.fixture
    def notifier(self) -> Notifier:
        raise NotImplementedError

    @pytest.fixture
    def arrived(self) -> Callable[[], list[str]]:
        raise NotImplementedError

    @pytest.fixture
    def key_of(self) -> Callable[[Message], str]:
        return lambda message: message.key

    @pytest.fixture
    def secret(self) -> str:
        return ""

    def test_a_message_is_with_the_far_side_when_it_returns(
        self,
        notifier: Notifier,
        arrived: Callable[[], list[str]],
        key_of: Callable[[Message], str],
    ) -> None:
        receipt = notifier.deliver(told())
        assert isinstance(receipt, str)
        assert "\n" not in receipt
        assert arrived() == [key_of(told())]

    def test_the_same_message_again_has_the_same_key(
        self,
        notifier: Notifier,
        arrived: Callable[[], list[str]],
        key_of: Callable[[Message], str],
    ) -> None:
        notifier.deliver(told())
        notifier.deliver(told())
        assert set(arrived()) == {key_of(told())}

    def test_a_bare_message_will_do(
        self, notifier: Notifier, arrived: Callable[[], list[str]]
    ) -> None:
        bare = Message(key="k", event="opened", incident="i", kind="skew", title="t",
                       severity="digest", project="p", endpoint="e")  # fmt: skip
        notifier.deliver(bare)
        assert len(arrived()) == 1

    @pytest.mark.parametrize("title", ["a\nb", "a\r\nBcc: x", "ü → 漢 🙂", "x" * 5000, "%s %d {}"])
    def test_any_text_is_delivered(
        self, notifier: Notifier, arrived: Callable[[], list[str]], title: str
    ) -> None:
        notifier.deliver(msgspec.structs.replace(told(), title=title, runbook=title))
        assert len(arrived()) == 1

    def test_no_secret_is_in_what_it_returns(self, notifier: Notifier, secret: str) -> None:
        assert not secret or secret not in notifier.deliver(told())


class RefusableNotifierConformance(NotifierConformance):
    """The same for a far side that `break_it` makes refuse."""

    @pytest.fixture
    def break_it(self) -> Callable[[], None]:
        raise NotImplementedError

    def test_what_is_refused_raises(
        self, notifier: Notifier, break_it: Callable[[], None], secret: str
    ) -> None:
        break_it()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it raises counts
            notifier.deliver(told())
        assert not secret or secret not in str(caught.value)
