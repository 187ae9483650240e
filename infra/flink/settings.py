"""Where a cluster's processes listen and how much memory they take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
# In MiB. A task manager moves names of files, not pixels: the pixels are Python's.
JOB_MANAGER = {"-Xms": 64, "-Xmx": 448, "-XX:MaxMetaspaceSize=": 256}
JOB_SERVER = {"-Xms": 64, "-Xmx": 448, "-XX:MaxMetaspaceSize=": 256}
_FRAMEWORK_HEAP, _TASK_HEAP = 128, 384
_FRAMEWORK_DIRECT, _TASK_DIRECT = 128, 128
# A portable job takes many buffers whatever it moves: with Flink's default share it does not start.
_NETWORK = 256
_MANAGED, _METASPACE, _OVERHEAD = 128, 256, 128
TASK_MANAGER = {
    "-Xms": 64,
    "-Xmx": _FRAMEWORK_HEAP + _TASK_HEAP,
    "-XX:MaxDirectMemorySize=": _FRAMEWORK_DIRECT + _TASK_DIRECT + _NETWORK,
    "-XX:MaxMetaspaceSize=": _METASPACE,
}
LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %.-2000m%n
"""


@dataclass(frozen=True)
class ClusterSettings:
    """One start of a cluster. ``folder`` is its own: configuration, logs, temporary files."""

    folder: Path
    rest_port: int
    job_port: int
    pool_port: int
    rpc_port: int
    task_managers: int
    slots: int

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def configuration(self) -> Path:
        return self.folder / "conf"

    @property
    def rest_url(self) -> str:
        return f"http://{HOST}:{self.rest_port}"

    @property
    def pipeline_arguments(self) -> list[str]:
        """What a Beam job is started with to run here."""
        return [
            "--runner=flink",
            f"--job_endpoint=localhost:{self.job_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self.pool_port}",
        ]

    def write(self) -> None:
        """Flink's configuration files."""
        self.configuration.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}: {value}" for name, value in self._flink().items()]
        (self.configuration / "config.yaml").write_text("\n".join(lines) + "\n", "utf-8")
        (self.configuration / "log4j.properties").write_text(LOG4J, "utf-8")

    def _flink(self) -> dict[str, object]:
        return {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": self.rpc_port,
            "jobmanager.bind-host": HOST,
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": self.rest_port,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": self.slots,
            "taskmanager.cpu.cores": self.slots,
            "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP}m",
            "taskmanager.memory.task.heap.size": f"{_TASK_HEAP}m",
            "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_DIRECT}m",
            "taskmanager.memory.task.off-heap.size": f"{_TASK_DIRECT}m",
            "taskmanager.memory.network.min": f"{_NETWORK}m",
            "taskmanager.memory.network.max": f"{_NETWORK}m",
            "taskmanager.memory.managed.size": f"{_MANAGED}m",
            "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE}m",
            "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD}m",
            "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD}m",
            "io.tmp.dirs": self.temporary,
            # One subtask, and with it one Python process, on each task manager; where one dies,
            # the slots of the others take its share at once.
            "parallelism.default": self.task_managers,
            "cluster.evenly-spread-out-slots": "true",
            "jobmanager.execution.failover-strategy": "region",
            # Machines that die now and then never end a job; what fails again at once does.
            "restart-strategy.type": "failure-rate",
            "restart-strategy.failure-rate.max-failures-per-interval": 3,
            "restart-strategy.failure-rate.failure-rate-interval": "5 min",
            "restart-strategy.failure-rate.delay": "1 s",
            # A dead task manager is missed within seconds; Flink's own figure is 50 s.
            "heartbeat.interval": 2000,
            "heartbeat.timeout": 20000,
            # Beam is on the class path of all; nothing is loaded twice.
            "classloader.resolve-order": "parent-first",
        }
