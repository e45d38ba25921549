"""git: many small files, renames into place, locks, packs that are mapped, and a verdict of its own (fsck)."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.peer import Peer

pytestmark = [pytest.mark.fuse, pytest.mark.root]

PERSON = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def make_repository(place: Path, git: Callable[..., str], commits: int, files: int) -> None:
    """A repository with history: text that changes a little, and some bytes that do not compress."""
    chance = random.Random(3)
    place.mkdir()
    git("git", "init", "-q", "-b", "main", where=place, more=PERSON)
    for number in range(commits):
        for _ in range(files):
            path = place / f"folder{chance.randrange(20)}" / f"file{chance.randrange(50)}.txt"
            path.parent.mkdir(exist_ok=True)
            lines = path.read_text().splitlines() if path.exists() else [f"line {line}" for line in range(200)]
            lines[chance.randrange(len(lines))] = f"changed in {number}"
            path.write_text("\n".join(lines))
        (place / "image").write_bytes(chance.randbytes(100_000))
        git("git", "add", "-A", where=place, more=PERSON)
        git("git", "commit", "-q", "-m", f"commit {number}", where=place, more=PERSON)


def exercise(source: Path, mount: Path, git: Callable[..., str]) -> None:
    """Clone, change, commit, branch, merge, collect garbage and verify on the mount; push back what came of it."""
    clone = mount / "clone"
    git("git", "clone", "-q", "--no-local", source, clone, more=PERSON)
    git("git", "switch", "-q", "-c", "work", where=clone, more=PERSON)
    (clone / "new").write_text("new\n")
    git("git", "add", "new", where=clone, more=PERSON)
    git("git", "commit", "-q", "-m", "on a branch", where=clone, more=PERSON)
    git("git", "switch", "-q", "main", where=clone, more=PERSON)
    (clone / "folder0").rename(clone / "renamed")
    git("git", "add", "-A", where=clone, more=PERSON)
    git("git", "commit", "-q", "-m", "renamed", where=clone, more=PERSON)
    git("git", "merge", "-q", "-m", "merged", "work", where=clone, more=PERSON)
    git("git", "gc", "-q", "--prune=now", where=clone, more=PERSON)
    git("git", "fsck", "--full", "--strict", where=clone, more=PERSON)
    assert git("git", "status", "--porcelain", where=clone, more=PERSON) == ""
    git("git", "push", "-q", "origin", "HEAD:refs/heads/back", where=clone, more=PERSON)
    git("git", "fsck", "--full", "--strict", where=source, more=PERSON)
    trees = [git("git", "rev-parse", f"{name}^{{tree}}", where=place, more=PERSON) for name, place in
             (("back", source), ("main", clone))]  # fmt: skip
    assert trees[0] == trees[1]


def test_git(mounted: Peer, program: Callable[..., str], tmp_path: Path) -> None:
    make_repository(tmp_path / "source", program, commits=8, files=20)
    exercise(tmp_path / "source", mounted.mount, program)
    mounted.stop()
    mounted.start("xattr=on")
    program("git", "fsck", "--full", "--strict", where=mounted / "clone", more=PERSON)


@pytest.mark.soak
def test_git_with_a_long_history_made_on_the_mount(mounted: Peer, program: Callable[..., str]) -> None:
    make_repository(mounted / "source", program, commits=300, files=60)
    exercise(mounted / "source", mounted.mount, program)
