"""What is missing for a Flink cluster is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.flink.distribution import Distribution, cached, fetch
from infra.flink.java import find_java
from infra.flink.settings import TASK_MANAGER, ClusterSettings
from srgan.errors import SrganError


def a_java(folder: Path, *modules: str) -> Path:
    """A program that lists modules as ``java`` does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    lines = "\n".join(f"echo {module}" for module in modules)
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["java.base@25.0.1", "jdk.compiler@25.0.1"], "is version 25: Flink 1.19 needs 11 to 21"),
        (["java.base@17.0.15", "java.sql@17.0.15"], "belongs to a JRE: a JDK is needed"),
        (["Error: no such option"], "is version 0"),
    ],
)
def test_a_java_that_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: list[str], expected: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(a_java(tmp_path / "jdk", *modules)))
    with pytest.raises(SrganError, match=expected) as caught:
        find_java()
    assert str(tmp_path / "jdk" / "bin" / "java") in str(caught.value)


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ["java.base@17.0.15", "jdk.compiler@17.0.15"]
    monkeypatch.setenv("JAVA_HOME", str(a_java(tmp_path / "jdk", *modules)))
    assert find_java().program == str(tmp_path / "jdk" / "bin" / "java")


def test_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SrganError, match="no java on the PATH: Flink needs a JDK"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(SrganError, match="nowhere/bin/java does not run"):
        find_java()


def test_no_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    distribution = Distribution(tmp_path)
    distribution.flink.mkdir()
    with pytest.raises(SrganError, match="no mvn on the PATH"):
        fetch(distribution)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flink-1.19.3", "lock"]


def test_no_package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("SRGAN_FLINK_HOME", str(tmp_path / "cache"))
    with pytest.raises(SrganError, match="cannot fetch Flink: ERROR: ") as caught:
        fetch(cached())
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_settings_agree_with_the_memory_of_the_process(tmp_path: Path) -> None:
    settings = ClusterSettings(tmp_path, 1, 2, 3, 4, task_managers=3, slots=2)
    settings.write()
    lines = (tmp_path / "conf" / "config.yaml").read_text().splitlines()
    values = dict(line.split(": ", 1) for line in lines)

    def megabytes(*names: str) -> int:
        return sum(int(values[f"taskmanager.memory.{name}"].removesuffix("m")) for name in names)

    heap = megabytes("framework.heap.size", "task.heap.size")
    direct = megabytes("framework.off-heap.size", "task.off-heap.size", "network.max")
    assert heap == TASK_MANAGER["-Xmx"]
    assert direct == TASK_MANAGER["-XX:MaxDirectMemorySize="]
    # Flink refuses to start unless these agree.
    assert megabytes("jvm-overhead.min") == megabytes("jvm-overhead.max")
    assert megabytes("network.min") == megabytes("network.max")
    assert values["parallelism.default"] == "3"
