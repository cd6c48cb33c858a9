"""Scenarios played: every configuration under every what-if, by several processes, into tables that can be merged.

The highest package of the simulator, built on all others; reports show what it finds.
"""
