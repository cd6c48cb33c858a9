"""What the engine's operations cost, cell by cell and lap after lap, and how a machine drifts from that later.

Built on the engine, on `calibrate.artifact` and on `calibrate.traces`; a calibration runs it, and reports time again by
it. Torch is imported in workers only.
"""
