"""The tree as POSIX shows it: names, nodes, owners, and the volume that a mount works on."""
