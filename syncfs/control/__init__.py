"""One command list served on a local socket."""
