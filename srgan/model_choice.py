"""Which model enlarges photos when nobody says which."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import ModelError, RegistryError
from srgan.mlflow_store import shown, tracking_uri
from srgan.shipped import DEFAULT, shipped_names
from srgan.workspace import Workspace

_SHIPPED_SCALE = 4
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Choice:
    """A model by the name that :func:`srgan.registry.resolve_model` takes, and why this one."""

    reference: str
    reason: str


def choose_model(asked: str | None, workspace: Workspace, *, scale: int = 4) -> Choice:
    """``asked``, else the champion of ``scale``, else the packaged model.

    Looking creates nothing: where the workspace has no database there is no champion, and MLflow
    is not even imported. Raises :class:`RegistryError` for a server that does not answer (another
    model than yesterday's must not come of it), :class:`ModelError` where there is none at all.
    """
    if asked is not None:
        return Choice(asked, "as asked for")
    uri = tracking_uri(workspace)
    where = f"the workspace {workspace.root}" if uri.startswith(_SQLITE) else shown(uri)
    if _has_registry(uri):
        from srgan.registry import champion

        try:
            found = champion(workspace, scale)
        except RegistryError as error:
            raise RegistryError(f"{error}; or do without: --model {DEFAULT}") from None
        if found is not None:
            return Choice(found.uri, f"the champion of {where}")
    why = f"{where} has no champion"
    if scale != _SHIPPED_SCALE:
        raise ModelError(
            f"{why} of scale {scale}, and what comes with the package enlarges {_SHIPPED_SCALE} "
            "times; train one with `srgan train`"
        )
    if DEFAULT not in shipped_names():
        raise ModelError(
            f"{why}, and {DEFAULT} is not in this installation; train one with `srgan train`, or "
            "name a model with --model"
        )
    return Choice(DEFAULT, f"comes with the package; {where} has no champion")


def _has_registry(uri: str) -> bool:
    if not uri.startswith(_SQLITE):
        return True
    path = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    return path.is_file() and os.access(path, os.R_OK)
