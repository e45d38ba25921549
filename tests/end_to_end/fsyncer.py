"""Writes files on a mount for ever, and says of each, once its fsync has returned, what it must hold from then on.

Run as `python -m tests.end_to_end.fsyncer DIRECTORY NAME SEED`. A line on stdout is `path<TAB>size<TAB>digest`, and it
is written only after fsync returned; a path may be told again after it was changed. Ends with the mount.
"""

import os
import random
import sys
from hashlib import blake2b
from pathlib import Path

SIZES = (0, 10, 900, 5_000, 130_000, 300_000, 1_500_000)


def main() -> None:
    """Write until an error ends it."""
    place, name, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        path = place / f"{name}-{number % 40}"
        content = bytearray()
        try:
            kind = chance.choice(("new", "append", "patch", "replace"))
            if kind in ("append", "patch") and not path.exists():
                kind = "new"
            data = chance.randbytes(chance.choice(SIZES))
            if kind == "replace":
                temporary = path.with_suffix(".tmp")
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                print(f"{path.name}\t?", flush=True)  # between the old and the new content until the next line
                temporary.rename(path)
                directory = os.open(place, os.O_RDONLY)
                os.fsync(directory)
                os.close(directory)
                content += data
            else:
                print(f"{path.name}\t?", flush=True)
                with path.open("wb" if kind == "new" else "r+b", buffering=0) as file:
                    if kind == "new":
                        content += data
                    else:
                        content += path.read_bytes()
                        at = len(content) if kind == "append" else chance.randrange(len(content) + 1)
                        content[at : at + len(data)] = data
                        file.seek(at)
                    file.write(data)
                    os.fsync(file.fileno())
                    told = f"{path.name}\t{len(content)}\t{blake2b(content, digest_size=16).hexdigest()}"
                    print(told, flush=True)
                continue
        except OSError as error:
            print(f"!\t{error}", flush=True)
            return
        print(f"{path.name}\t{len(content)}\t{blake2b(content, digest_size=16).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
