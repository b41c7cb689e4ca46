"""Other engines on the same ticks and the same rule, each in a process of its own."""
