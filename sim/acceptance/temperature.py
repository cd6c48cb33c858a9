"""Which of a calibration's texts are replayed: the greedy ones, or those drawn at a temperature."""

from calibrate.artifact import Artifact
from engine.errors import ConfigurationError


def at_temperature(artifact: Artifact, temperature: float) -> Artifact:
    """The calibration with its texts of that temperature for traces; 0: as they are, which at first is greedy.

    ConfigurationError if it has none.
    """
    if temperature in (0.0, artifact.temperature):
        return artifact
    recorded = artifact.recorded
    if not artifact.sampled or temperature != recorded.temperature:
        drawn = f" and {recorded.temperature:g}" if artifact.sampled else " alone"
        raise ConfigurationError(
            f"the calibration holds no texts at temperature {temperature:g}, but at {artifact.temperature:g}{drawn}: "
            "choose one of these, or make another with 'specbranch calibrate'."
        )
    lengths = tuple(
        record.model_copy(update={"path_tokens": len(trace.path)})
        for record, trace in zip(recorded.prompts, artifact.sampled, strict=True)
    )
    update = {"prompts": lengths, "max_tokens": recorded.sampled_tokens}
    return Artifact(
        artifact.costs, recorded.model_copy(update=update), artifact.sampled, temperature=temperature
    )
