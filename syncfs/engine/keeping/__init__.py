"""What is kept of the past and of chunks, and how the space of the rest is given back."""
