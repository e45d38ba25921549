"""The peer protocol without input or output: messages, frames, handshake, session."""
