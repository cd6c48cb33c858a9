"""Predicted against measured: what is run and simulated for it, its record, and what the record decides.

The lowest package of reports, built on the engine, calibrations and the simulator; pages and comparisons read it.
"""
