"""The impatient part: the asyncio shell that feeds the engine and carries its effects out."""
