"""Where simulated tokens come from: recorded texts, shifted alignment, or stated acceptance, even or in runs.

The lowest package of the simulator: it knows calibrations and policies, and neither costs nor clocks.
"""
