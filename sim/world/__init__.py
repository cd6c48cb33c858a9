"""Scripts in time: devices, events over SimPy, the closed form of a wait, and the replay of a calibration.

Built on `sim.costs`, `sim.scripts` and `sim.acceptance`; searches and sweeps replay by it.
"""
