"""Hello: each lie and each kind of stranger is told apart, and told why."""

from dataclasses import replace

import msgspec
import pytest

from syncfs.crypto.keys import Role
from syncfs.model.errors import ForeignError, RefusedError
from syncfs.wire.greeting import check_hello, make_hello
from syncfs.wire.session import Closed

from .people import NOW, pair, person

HASH = bytes(range(32))
YEAR = 365 * 86400


def judge(ours, theirs, hello=None):
    """What we say to the Hello of an initiator."""
    return check_hello(ours, hello or make_hello(theirs, HASH, True), HASH, True)


def test_a_hello_of_another_handshake_is_refused():
    with pytest.raises(ForeignError):
        judge(person("ann"), person("bob"), make_hello(person("bob"), bytes(32), True))


def test_a_hello_sent_back_to_its_sender_is_refused():
    with pytest.raises(ForeignError):
        judge(person("ann"), person("bob"), make_hello(person("bob"), HASH, False))


def test_a_store_cannot_claim_to_be_a_reader():
    store = person("mallory", Role.STORE)
    hello = msgspec.structs.replace(make_hello(store, HASH, True), role="reader")
    with pytest.raises(RefusedError, match="claims to be a reader and cannot prove it"):
        judge(person("ann"), store, hello)


def test_a_reader_cannot_claim_to_be_a_writer():
    reader = person("mallory", Role.READER)
    hello = make_hello(reader, HASH, True)
    with pytest.raises(RefusedError, match="shows no certificate"):
        judge(person("ann"), reader, msgspec.structs.replace(hello, role="writer"))


def test_a_copied_certificate_makes_no_writer():
    mallory = replace(person("mallory", Role.READER), certificate=person("bob").certificate)
    with pytest.raises(ForeignError, match="not its own"):
        judge(person("ann"), mallory)


def test_a_certificate_of_another_share_makes_no_writer():
    mallory = replace(person("mallory", Role.READER), certificate=person("mallory", share="other").certificate)
    with pytest.raises(ForeignError, match="signature"):
        judge(person("ann"), mallory)


def test_an_unknown_role_is_a_lie():
    hello = msgspec.structs.replace(make_hello(person("bob"), HASH, True), role="king")
    with pytest.raises(ForeignError, match="does not exist"):
        judge(person("ann"), None, hello)


def test_another_share_key_is_another_share():
    hello = msgspec.structs.replace(make_hello(person("bob", Role.STORE), HASH, True), public=bytes(32))
    with pytest.raises(RefusedError, match="another share"):
        judge(person("ann"), None, hello)
    with pytest.raises(RefusedError):
        judge(person("ann", Role.READER, learnt=False), None, msgspec.structs.replace(hello, sealed_salt=bytes(32)))


def test_a_writer_cannot_be_checked_without_the_key_of_the_share():
    hello = msgspec.structs.replace(make_hello(person("bob"), HASH, True), public=b"")
    with pytest.raises(RefusedError, match="public key is known"):
        judge(person("ann", Role.READER, learnt=False), None, hello)


def test_ourselves():
    with pytest.raises(RefusedError, match="this very computer"):
        judge(person("ann"), person("ann"))


def test_no_common_version():
    hello = msgspec.structs.replace(make_hello(person("bob"), HASH, True), versions=[3, 4])
    with pytest.raises(RefusedError, match="update syncfs"):
        judge(person("ann"), None, hello)


def test_a_version_in_common_is_enough():
    hello = msgspec.structs.replace(make_hello(person("bob"), HASH, True), versions=[3, 1])
    assert judge(person("ann"), None, hello).version == 1


def test_an_ended_certificate_is_refused():
    with pytest.raises(RefusedError, match=r"ended on .*") as caught:
        judge(person("ann", now=NOW + 10), person("bob", now=NOW + 10, expires=NOW + 5))
    assert "days apart" not in str(caught.value)


def test_a_clock_that_is_a_year_off_is_named():
    with pytest.raises(RefusedError, match="365 days apart"):
        judge(person("ann", now=NOW + YEAR), person("bob", expires=NOW + 1000))


def test_a_clock_that_is_a_year_off_does_no_harm_without_an_expiry():
    assert judge(person("ann", now=NOW + YEAR), person("bob")).name == "bob"


def test_who_is_refused_hears_why_and_who_refuses_too():
    two = pair(person("ann", now=NOW + YEAR), person("bob", expires=NOW + 1000))
    two.exchange()
    (left,) = two.left_events
    assert isinstance(left, Closed)
    assert isinstance(left.error, RefusedError)
    heard = two.right_events[-1]
    assert isinstance(heard, Closed)
    assert "days apart" in heard.reason
