"""Where a run is: the part of a checkpoint that people can read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from srgan.guard import GuardMemory
from srgan.runs import STAGES, Stage


class Best(BaseModel):
    """The best validation figure of a stage so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    value: float
    higher_is_better: bool


class StageRecord(BaseModel):
    """What has become of a stage.

    ``planned`` are the steps it has in all, once that is decided; ``seconds`` the time spent in
    it; ``returns`` how often it went back to an earlier checkpoint.
    """

    model_config = ConfigDict(extra="forbid")

    planned: int | None = None
    seconds: float = 0.0
    best: Best | None = None
    returns: int = 0


class Position(BaseModel):
    """Stage, updates done in it, and all that decides how it goes on.

    ``stage`` is an index into ``STAGES``; its length: finished. With ``seed`` and the stage's
    ``returns``, ``step`` is the position in the data, too.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int
    stage: int = 0
    step: int = 0
    stages: dict[Stage, StageRecord] = Field(
        default_factory=lambda: {s: StageRecord() for s in STAGES}
    )
    guard: GuardMemory = GuardMemory()
    notes: list[str] = []

    @property
    def name(self) -> Stage | None:
        """The stage's name; ``None`` when all are finished."""
        return STAGES[self.stage] if self.stage < len(STAGES) else None

    @property
    def returns(self) -> int:
        """Returns to an earlier checkpoint, all stages together."""
        return sum(record.returns for record in self.stages.values())

    def __str__(self) -> str:
        return f"{self.name} step {self.step}" if self.name else "the end of training"
