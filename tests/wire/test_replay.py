"""The memory of first messages."""

from syncfs.wire.replay import ReplayGuard


def test_each_message_is_fresh_once_while_it_is_remembered():
    guard = ReplayGuard(capacity=2)
    assert [guard.fresh(message) for message in (b"a", b"b", b"a", b"b")] == [True, True, False, False]
    assert guard.fresh(b"c")
    assert guard.fresh(b"a")
    assert not guard.fresh(b"c")
