"""What was done to a clip, and what its owner had better know: a line each, said once."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    """Lines by what they are about; a later line about the same thing takes the place of the earlier one."""

    conversions: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    def converted(self, about: str, told: str) -> None:
        """Something was changed on the way to the system."""
        self.conversions[about] = told

    def warn(self, about: str, told: str) -> None:
        """Nothing was changed, but the forecast suffers."""
        self.warnings[about] = told

    def lines(self) -> list[str]:
        """All of them, as they are printed."""
        done = [f"{about}: {told}" for about, told in self.conversions.items()]
        return [*done, *(f"warning: {about}: {told}" for about, told in self.warnings.items())]
