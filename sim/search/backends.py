"""Where a sweep's processes run: this machine's cores, or a Dask or Ray cluster, by joblib's own backends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import ConfigurationError

BACKENDS = ("loky", "dask", "ray")
PACKAGES = {"dask": "distributed", "ray": "ray"}


@contextmanager
def backend(name: str = "loky", address: str | None = None) -> Iterator[None]:
    """Within it, joblib's parallel calls run on a backend; `address` is the cluster's (none: one made here).

    Each machine of a cluster needs this package. ConfigurationError if there is no such backend, or if its
    package is not installed.
    """
    if name not in BACKENDS:
        raise ConfigurationError(f"there is no backend '{name}': {', '.join(BACKENDS)}.")
    if name == "loky":  # what joblib takes anyway
        yield
        return
    import joblib  # type: ignore[import-untyped]  # here, since it takes as long as all the rest to import

    try:
        with _cluster(name, address), joblib.parallel_config(backend=name):
            yield
    except ImportError as error:
        raise ConfigurationError(
            f"the backend '{name}' needs the package '{PACKAGES.get(name, name)}' ({error}); install it, or leave "
            "--backend out."
        ) from error


def results_as(kind: str) -> str:
    """How joblib is to give results: as the generator that is wished or, where the active backend cannot, a list."""
    import joblib

    active, _ = joblib.parallel.get_active_backend()
    return kind if getattr(active, "supports_return_generator", False) else "list"


def _cluster(name: str, address: str | None) -> Any:
    """A context in which the backend's cluster can be reached."""
    if name == "dask":
        from distributed import Client  # type: ignore[import-not-found]

        return Client(address)
    if name == "ray":
        import ray  # type: ignore[import-not-found]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found]

        register_ray()
        return ray.init(address=address, ignore_reinit_error=True)
    raise AssertionError(name)
