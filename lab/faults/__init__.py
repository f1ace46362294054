"""Faults that are planted to see whether the checkers notice them; only tests of the lab use them.

Faults of the wire live in the far-end agent (`lab/agents/faults.py`).
"""
