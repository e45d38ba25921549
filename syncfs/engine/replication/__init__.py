"""Talking with peers: whom we know, what they tell, what of that waits for a person."""
