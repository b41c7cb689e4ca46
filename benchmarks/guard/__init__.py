"""The latency guard: a change beside its base, in one run, interleaved."""
