"""The target's own texts, as every draft sees them, with what is counted of them; and H-RAD's training on them.

Built on the engine and on the calibration folder's schema (`calibrate.artifact`), never on `calibrate.costs`.
Simulations and reports read `acceptance_statistics`; only what runs in a worker or trains imports torch.
"""
