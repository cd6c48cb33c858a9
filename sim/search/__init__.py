"""The tuner: grids of configurations, objectives and bounds, many replays at once, the file it writes, and the map.

Built on `sim.world`; sweeps and reports use it.
"""
