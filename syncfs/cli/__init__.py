"""The `syncfs` command: what people and scripts type, in terms of engine, mount and control."""
