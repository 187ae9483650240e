from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from srgan.config import GateConfig
from srgan.errors import RegistryError
from srgan.gate import Decision, check_loads_alone, decide, promote
from srgan.registry import Version, champion, find_version, register, resolve_model
from srgan.scores import Evaluation
from srgan.workspace import Workspace
from tests.srgan.tiny import evaluation_of, new_workspace, publish_model

BICUBIC = {"psnr_y": 28.0, "ssim_y": 0.80, "lpips_alex": 0.30}
NAN = float("nan")


def figures(psnr_y: float, lpips_alex: float | None = None) -> dict[str, float]:
    values = {"psnr_y": psnr_y, "ssim_y": 0.85}
    return values if lpips_alex is None else {**values, "lpips_alex": lpips_alex}


@pytest.mark.parametrize(
    ("model", "champion", "config", "promoted", "target", "reason"),
    [
        (figures(30, 0.1), None, {}, True, "lpips_alex", "there is no champion yet"),
        (figures(30), None, {}, True, "psnr_y", "there is no champion yet"),
        (figures(28), None, {}, True, "psnr_y", "is equal to bicubic's 28.00 dB"),
        (figures(27.99, 0.01), None, {}, False, "lpips_alex", "worse than bicubic's 28.00 dB"),
        (figures(NAN, 0.1), None, {}, False, "lpips_alex", "not comparable with bicubic's"),
        (figures(29, 0.10), figures(31, 0.20), {}, True, "lpips_alex", "better than the champion"),
        (figures(31, 0.20), figures(29, 0.10), {}, False, "lpips_alex", "worse than the champion"),
        (figures(30, 0.10), figures(30, 0.10), {}, False, "lpips_alex", "equal to the champion"),
        (figures(27, 0.01), figures(30, 0.20), {}, False, "lpips_alex", "worse than bicubic's"),
        (figures(31), figures(30), {}, True, "psnr_y", "31.00 dB is better than the champion's"),
        # Only one of the two has LPIPS: what both have decides.
        (figures(31, 0.9), figures(30), {}, True, "psnr_y", "better than the champion's 30.00 dB"),
        (figures(31, 0.9), figures(30, 0.1), {"target": "psnr_y"}, True, "psnr_y", "better than"),
        (figures(30.05), figures(30), {"min_gain": 0.1}, False, "psnr_y", "at least 0.1 is asked"),
        (figures(30.5), figures(30), {"min_gain": 0.1}, True, "psnr_y", "at least 0.1 is asked"),
        (figures(30, NAN), figures(30, 0.1), {}, False, "lpips_alex", "not comparable with the"),
    ],
)
def test_the_decision_by_figures(
    model: Mapping[str, float],
    champion: Mapping[str, float] | None,
    config: Mapping[str, object],
    promoted: bool,
    target: str,
    reason: str,
) -> None:
    evaluation = evaluation_of(model, champion=champion, bicubic=BICUBIC)
    decision = decide(
        evaluation, GateConfig.model_validate(config), has_champion=champion is not None
    )
    assert (decision.promoted, decision.target) == (promoted, target)
    assert reason in "; ".join(decision.reasons)
    assert decision.figures["bicubic"] == BICUBIC
    assert ("champion" in decision.figures) == (champion is not None)


@pytest.mark.parametrize(
    ("champion", "config", "message"),
    [
        (None, {}, "no figures of 'champion' .it has bicubic, model.; evaluate again"),
        ({"lpips_alex": 0.1}, {}, "needs psnr_y of 'champion', which was not measured"),
        (figures(30), {"target": "lpips_alex"}, r"needs lpips_alex of 'model'.*\(no weights\)"),
    ],
)
def test_a_missing_figure_is_an_error_not_a_decision(
    champion: Mapping[str, float] | None, config: Mapping[str, object], message: str
) -> None:
    evaluation = evaluation_of(
        figures(31), champion=champion, not_measured={"lpips_alex": "no weights"}
    )
    with pytest.raises(RegistryError, match=message):
        decide(evaluation, GateConfig.model_validate(config), has_champion=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for seed in (7, 8):
        publish_model(root / f"run-{seed}", f"run-{seed}", seed=seed)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return new_workspace(tmp_path, monkeypatch)


def loads(version: Version, workspace: Workspace) -> None:
    """The infrastructure key where a test is about the figures; the real one has its own tests."""
    assert find_version(version.uri, workspace).model_sha256 == version.model_sha256


def gate(
    version: Version, evaluation: Evaluation, workspace: Workspace, **more: Version
) -> Decision:
    return promote(version, evaluation, GateConfig(), workspace, check=loads, **more)


def test_the_first_good_model_becomes_champion_and_a_worse_one_stays_challenger(
    models: dict[str, Path], workspace: Workspace
) -> None:
    first = register(models["run-7"], workspace)
    assert gate(first, evaluation_of(figures(30)), workspace).promoted
    assert find_version("champion", workspace).version == 1
    assert find_version("challenger", workspace).version == 1

    second = register(models["run-8"], workspace)
    evaluation = evaluation_of(figures(29), champion=figures(30))
    decision = gate(second, evaluation, workspace, compared_with=first)
    assert not decision.promoted
    assert find_version("champion", workspace).version == 1
    assert find_version("challenger", workspace).version == 2
    tags = find_version("challenger", workspace).tags
    assert tags["srgan.gate"] == "kept back"
    assert "29.00 dB is worse than the champion's 30.00 dB" in tags["srgan.gate.reasons"]
    assert json.loads(tags["srgan.gate.figures"])["champion"]["psnr_y"] == 30

    better = evaluation_of(figures(31), champion=figures(30))
    assert gate(second, better, workspace, compared_with=first).promoted
    assert find_version("champion", workspace).version == 2
    assert find_version("champion", workspace).tags["srgan.gate"] == "promoted"


def test_the_champion_itself_is_told_so(models: dict[str, Path], workspace: Workspace) -> None:
    version = register(models["run-7"], workspace)
    gate(version, evaluation_of(figures(30)), workspace)
    # Its own evaluation has no champion beside it, and needs none.
    decision = gate(version, evaluation_of(figures(27)), workspace)
    assert decision.promoted
    assert decision.reasons == ["models:/srgan-faces/1 is the champion already"]


def test_a_champion_that_changed_meanwhile_asks_for_a_new_evaluation(
    models: dict[str, Path], workspace: Workspace
) -> None:
    first, second = (register(models[name], workspace) for name in ("run-7", "run-8"))
    gate(first, evaluation_of(figures(30)), workspace)
    publish = evaluation_of(figures(31), champion=figures(30))
    gate(second, publish, workspace, compared_with=first)
    MlflowClient().set_registered_model_alias("srgan-faces", "champion", "1")
    with pytest.raises(RegistryError, match="srgan-faces/1 is champion now; evaluate again"):
        gate(second, publish, workspace, compared_with=second)


def test_a_version_that_does_not_load_is_kept_back_whatever_its_figures(
    models: dict[str, Path], workspace: Workspace
) -> None:
    version = register(models["run-7"], workspace)
    [stored] = workspace.artifacts.rglob("saved_model.pb")
    stored.write_bytes(b"damaged")
    decision = promote(version, evaluation_of(figures(40)), GateConfig(), workspace)
    assert not decision.promoted
    assert "saved_model.pb: changed: sha256 is" in decision.reasons[-1]
    assert champion(workspace) is None
    assert find_version("challenger", workspace).tags["srgan.gate"] == "kept back"


def test_a_fresh_process_turns_the_infrastructure_key(
    models: dict[str, Path], workspace: Workspace
) -> None:
    differences = []
    version = register(models["run-7"], workspace)
    decision = promote(
        version,
        evaluation_of(figures(30)),
        GateConfig(),
        workspace,
        check=lambda *what: differences.append(check_loads_alone(*what)),
    )
    assert decision.promoted
    assert decision.reasons[-1] == "a fresh process loads it and gives the same pixels"
    assert differences == [0]
    with pytest.raises(RegistryError, match="did not load it within 0 s"):
        check_loads_alone(version, workspace, seconds=0.01)


@pytest.mark.slow
def test_a_version_that_mlflow_cannot_load_is_told(
    models: dict[str, Path], workspace: Workspace
) -> None:
    version = register(models["run-7"], workspace)
    # This project has its own copy by then; what a stranger fetches is broken.
    resolve_model(version.uri, workspace)
    [stored] = workspace.artifacts.rglob("MLmodel")
    text = stored.read_text("utf-8")
    stored.write_text(text.replace("saved_model_dir: saved_model", "saved_model_dir: gone"))
    with pytest.raises(RegistryError, match=r"a fresh process cannot load it: .*gone"):
        check_loads_alone(version, workspace)
