"""The vocabulary of syncfs: pure values and functions, no input or output."""
