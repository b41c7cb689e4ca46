"""The pure, synchronous core: ticks to candidates, candidates to decisions.

It learns about the world through events only. Never in this room: a clock, a random source, the
environment, a file, a socket, asyncio.
"""
