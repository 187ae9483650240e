"""What the server knows about parameters: it refuses bad ones before a run exists."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.schema_tools import ValidationError, validate

from flows.failures import failed
from flows.parameters import run_config, setting_keys
from flows.train import train
from srgan.config import RunConfig, load_run_config, preset_names
from srgan.errors import ConfigError
from srgan.interrupts import InterruptedTrainingError
from tests.flows.helpers import ROOT


def deployments() -> list[dict[str, Any]]:
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"])


def refusal(parameters: dict[str, Any]) -> str:
    """Exactly what Prefect's server does before it creates a run of a deployment."""
    with pytest.raises(ValidationError) as caught:
        validate(parameters, train.parameters.model_dump(), raise_on_error=True)
    return str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({"dataset": {"scale": 3}}, "'dataset.scale'", "3 is not one of [2, 4, 8]"),
        ({"dataset": {"sclae": 4}}, "'dataset'", "'sclae' was unexpected"),
        ({"dataset": {"hr_size": 8}}, "'dataset.hr_size'", "8 is less than the minimum of 16"),
        ({"preset": "huge"}, "'preset'", "'huge' is not one of"),
        ({"stage": "last"}, "'stage'", "'last' is not one of"),
        ({"max_minutes": -1}, "'max_minutes'", "-1 is less than the minimum of 0"),
        ({"overrides": ["trainer.bach=3"]}, "'overrides[0]'", "'trainer.bach=3' does not match"),
        ({"overrides": ["trainer.seed"]}, "'overrides[0]'", "'trainer.seed' does not match"),
    ],
)
def test_bad_value_is_refused_with_its_field(
    parameters: dict[str, Any], field: str, reason: str
) -> None:
    message = refusal(parameters)
    assert f"Validation failed for field {field}" in message
    assert reason in message


def test_every_override_of_a_preset_is_let_through() -> None:
    overrides = [f"{key}=1" for key in setting_keys()]
    assert "pretrain.content.lpips_vgg=1" in overrides
    validate({"overrides": overrides}, train.parameters.model_dump(), raise_on_error=True)


def test_setting_keys_are_those_of_the_settings() -> None:
    keys = set(setting_keys())
    flat = set(leaves(RunConfig.model_validate({}).model_dump()))
    assert "trainer.guard.rollbacks" in keys
    assert {key for key in flat if ".content." not in key} <= keys
    assert all(".content" in key for key in keys - flat)


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name


def test_form_says_what_each_parameter_is() -> None:
    properties = train.parameters.properties
    assert all(item.get("description") for item in properties.values()), properties
    assert properties["preset"]["enum"] == preset_names()
    assert next(iter(properties)) == "image_set"


def test_dataset_decides_the_scale() -> None:
    config = run_config("tiny", ("pretrain.hr_crop=32",), 2, 3.0)
    assert (config.generator.scale, config.trainer.max_minutes) == (2, 3.0)
    assert run_config("tiny", (), 4, None) == load_run_config("tiny")
    with pytest.raises(ConfigError, match=r"generator\.scale=2 contradicts dataset\.scale=4"):
        run_config("tiny", ("generator.scale=2",), 4, None)


@pytest.mark.parametrize("deployment", deployments(), ids=lambda item: item["name"])
def test_entrypoint_resolves_to_its_flow(deployment: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    assert deployment["work_pool"]["name"] == "srgan"
    schema = flow.parameters.model_dump()
    given = deployment.get("parameters", {})
    # A scheduled run has nobody to ask.
    if deployment.get("schedules"):
        validate(given, schema, raise_on_error=True)
    assert flow.description


def test_deployments_have_the_documented_names() -> None:
    flows = [load_flow_from_entrypoint(item["entrypoint"]).name for item in deployments()]
    names = [item["name"] for item in deployments()]
    assert {f"{flow}/{name}" for flow, name in zip(flows, names, strict=True)} == {
        "srgan/train",
        "srgan-evaluate/evaluate",
        "srgan-retrain/scheduled",
    }


def test_schedule_is_paused_until_somebody_resumes_it() -> None:
    (schedule,) = (s for d in deployments() for s in d.get("schedules", []))
    assert schedule["active"] is False


def test_no_machine_path_is_committed() -> None:
    text = (ROOT / "prefect.yaml").read_text("utf-8")
    assert yaml.safe_load(text)["pull"] == []
    assert str(ROOT) not in text


def test_prefect_server_can_be_imported() -> None:
    """It cannot with fastapi from 0.155 on, though Prefect's own range admits that."""
    assert importlib.import_module("prefect.server.api.server").create_app


def test_run_that_was_told_to_stop_says_so() -> None:
    stopped = failed(InterruptedTrainingError("stopped by SIGTERM at step 7"))
    assert (stopped.name, stopped.message) == ("Interrupted", "stopped by SIGTERM at step 7")
    assert failed(ConfigError("bad")).name == "Failed"
