"""A table of POSIX behaviour whose expectations are the kernel's.

A case is a generator: it works in a directory of its own and yields what it saw as `(label, value)`. The same case runs
in a plain directory and on a mount, and the two records have to be equal; no expectation is written down here. A value
therefore holds nothing that two file systems may differ in: no inode numbers, no block counts, no order of a listing,
no time of day. What a case sees as an error is recorded by its name, such as `EACCES`.
"""
