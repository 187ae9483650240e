"""Versions of registered models as MLflow lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srgan.mlflow_store import RUN_ID

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
MODEL_SHA256 = "srgan.model_sha256"
WEIGHTS_SHA256 = "srgan.weights_sha256"


@dataclass(frozen=True)
class Version:
    """A version of a registered model. ``run_id`` is our run's, ``model_sha256`` its card's."""

    name: str
    version: int
    run_id: str
    model_sha256: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """``models:/name/3``, as MLflow takes it."""
        return f"models:/{self.name}/{self.version}"


def registered_name(scale: int) -> str:
    """``srgan-faces`` for x4, ``srgan-faces-x2`` and so on for other scales."""
    return "srgan-faces" if scale == 4 else f"srgan-faces-x{scale}"


def versions_of(client: MlflowClient, name: str) -> list[Version]:
    """All versions of a name, the newest first; none when there is no such name."""
    found = client.search_model_versions(f"name = '{name}'", max_results=1000)
    # A search leaves the aliases out.
    aliases: dict[int, list[str]] = {}
    if found:
        for alias, number in client.get_registered_model(name).aliases.items():
            aliases.setdefault(int(number), []).append(alias)
    versions = [
        to_version(item, tuple(sorted(aliases.get(int(item.version), ())))) for item in found
    ]
    return sorted(versions, key=lambda version: -version.version)


def to_version(item: ModelVersion, aliases: tuple[str, ...]) -> Version:
    """MLflow's version as ours."""
    tags = dict(item.tags)
    return Version(
        name=str(item.name),
        version=int(item.version),
        run_id=tags.get(RUN_ID, ""),
        model_sha256=tags.get(MODEL_SHA256, ""),
        aliases=aliases,
        tags=tags,
    )


def by_alias(client: MlflowClient, name: str, alias: str) -> Version | None:
    """The version with this alias."""
    return next((v for v in versions_of(client, name) if alias in v.aliases), None)


def by_number(client: MlflowClient, name: str, number: int) -> Version | None:
    """The version with this number."""
    return next((v for v in versions_of(client, name) if v.version == number), None)
