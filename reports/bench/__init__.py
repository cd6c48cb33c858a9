"""Benchmarks: our methods beside transformers, a calibration repeated, the simulator's speed, a machine checked whole.

Built on `reports.verify` and the parts of `reports.page`; no other package imports it.
"""
