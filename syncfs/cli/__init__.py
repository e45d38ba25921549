"""The syncfs command."""
