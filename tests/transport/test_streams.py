"""Endpoints as text, and the path that an address lies on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.errors import UsageError
from syncfs.transport.streams import format_endpoint, parse_endpoint, path_of


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("host:1", ("host", 1)),
        (" nas.example.org:4000 ", ("nas.example.org", 4000)),
        ("10.0.0.1:0", ("10.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:7", ("fe80::1%eth0", 7)),
    ],
)
def test_endpoints_are_read_and_written(text, endpoint):
    assert parse_endpoint(text) == endpoint
    assert format_endpoint(*endpoint) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:x", "host:-1", "host:65536", "::1:5", "[host]:1", "[]:1", "a b:1", "h:²"]
)
def test_what_is_no_endpoint_is_said_so(text):
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_endpoint(text)


@given(st.text(max_size=30))
def test_any_text_gives_an_endpoint_or_a_usage_error(text):
    try:
        host, port = parse_endpoint(text)
    except UsageError:
        return
    assert parse_endpoint(format_endpoint(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("192.168.1.5", "lan"),
        ("127.0.0.1", "lan"),
        ("fe80::1%eth0", "lan"),
        ("::ffff:10.1.1.1", "lan"),
        ("8.8.8.8", "direct"),
        ("2a00:1450::1", "direct"),
        ("host.example", "direct"),
    ],
)
def test_paths(host, path):
    assert path_of(host) == path
