"""Mazes, drawn afresh for every episode."""
