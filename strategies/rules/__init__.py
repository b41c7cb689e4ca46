"""Strategies made of rules: a processor each, and a kernel where speed asks for one."""
