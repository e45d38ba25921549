"""What is written to open files, until it is a version."""
