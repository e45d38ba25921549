"""Option strings as mount(8), fstab and people write them."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncfs.model.errors import UsageError
from syncfs.mount.options import MountOptions, fuse_options, parse_options, parse_size


def test_defaults_differ_for_root_and_users() -> None:
    assert parse_options("", privileged=True) == MountOptions(allow_other=True, owners="ids")
    assert parse_options("", privileged=False) == MountOptions(allow_other=False, owners="me")
    assert parse_options("", privileged=False).shown_owner == (os.getuid(), os.getgid())


def test_what_others_have_dealt_with_is_left_alone() -> None:
    line = "defaults,noauto,_netdev,nofail,relatime,x-systemd.automount,x-systemd.idle-timeout=5min,comment=mine,,rw"
    assert parse_options(line, privileged=True).kernel == ("rw",)


def test_own_options() -> None:
    line = "uid=5,gid=6,owners=names,readahead=2M,timeout=12.5,cache_size=1.5G,acl"
    assert parse_options(line, privileged=True) == MountOptions(
        allow_other=True,
        acl=True,
        xattr="on",
        owners="names",
        uid=5,
        gid=6,
        readahead=2 << 20,
        timeout=12.5,
        cache_size=3 << 29,
    )


def test_the_later_option_wins_and_user_implies_safety() -> None:
    options = parse_options(["ro,suid", "rw,nosuid,ro"], privileged=True)
    assert (options.kernel, options.read_only) == (("nosuid", "ro"), True)
    assert parse_options("user,exec", privileged=True).kernel == ("nosuid", "nodev", "exec")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ro,readahed=1M", "'readahed=1M' is unknown"),
        ("timeout=0", "1 to 86400 seconds"),
        ("timeout=soon", "1 to 86400 seconds"),
        ("readahead=4096", "write 128K to 64M"),
        ("readahead=much", "'much' is not a size"),
        ("uid=root", "'uid=root' needs a number"),
        ("xattr=maybe", "one of on, off"),
        ("max_read=4096", "use readahead="),
        ("suid", "for root only"),
        ("allow_other=1", "'allow_other=1' is unknown"),
    ],
)
def test_what_cannot_be_used_is_named(line: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_options(line, privileged=False)


def test_sizes() -> None:
    assert [parse_size(text) for text in ("0", "17", "4k", "4KiB", "1.5MB", "2T")] == [
        0, 17, 4096, 4096, 3 << 19, 2 << 40,
    ]  # fmt: skip
    for text in ("", "k", "-1", "1x", "inf", "nan", "1e400"):
        with pytest.raises(UsageError):
            parse_size(text)


def test_what_pyfuse3_gets() -> None:
    options = parse_options("ro,acl,timeout=5", privileged=True)
    expected = {"fsname=a\\,b\\\\c\\303\\274", "subtype=syncfs", "default_permissions", "ro", "allow_other"}
    assert fuse_options(options, "a,b\\cü") == expected
    with pytest.raises(UsageError):
        fuse_options(options, "/dev/fuse")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_options(text, privileged=True)
    except UsageError as error:
        assert str(error)
