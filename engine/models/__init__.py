"""Models as decoders over slots: specifications, forwards, KV caches, how tokens are drawn, judged and predicted.

Built on `engine.kernels` and `engine.policies`; drafts and the runtime use it. `specs`, `sampling`, `cache_state` and
`capabilities` import no torch, so that calibrations and the simulator read them.
"""
