"""Where the quickstart keeps what it makes: outside the checkout, so that the daemon cannot lean on it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ("nlp-minilm-pt213-cpu", "vision-digits-pt213-cpu")


@dataclass(frozen=True)
class Home:
    """Folders and ports of one quickstart."""

    root: Path
    environments: Path  # each with its environment.yml; locks are written beside them
    channel_port: int
    scheduler_port: int

    @classmethod
    def find(cls) -> Home:
        """Read SLUICE_QUICKSTART_HOME, _ENVS, _CHANNEL_PORT and _SCHEDULER_PORT, or use the defaults."""
        prefix = "SLUICE_QUICKSTART_"
        root = os.environ.get(f"{prefix}HOME") or platformdirs.user_data_path("sluice") / "quickstart"
        return cls(
            Path(root).absolute(),
            Path(os.environ.get(f"{prefix}ENVS") or CHECKOUT / "envs").absolute(),
            int(os.environ.get(f"{prefix}CHANNEL_PORT", "8710")),
            int(os.environ.get(f"{prefix}SCHEDULER_PORT", "8720")),
        )

    @property
    def channel(self) -> Path:
        """The folder that packages are built into."""
        return self.root / "channel"

    @property
    def site(self) -> Path:
        """The channel server's folder: its catalogue and its files."""
        return self.root / "site"

    @property
    def channel_url(self) -> str:
        """Where the channel is served."""
        return f"http://127.0.0.1:{self.channel_port}/main"

    @property
    def scheduler_url(self) -> str:
        """Where the scheduler listens."""
        return f"http://127.0.0.1:{self.scheduler_port}"

    @property
    def prefixes(self) -> Path:
        """Where the scheduler's own prefix is realised."""
        return self.root / "p"

    @property
    def state(self) -> Path:
        """The daemon's state: its queue, its environments."""
        return self.root / "s"

    @property
    def replays(self) -> Path:
        """Where answers are replayed and an environment is tampered with: not where they are served from."""
        return self.root / "r"

    @property
    def logs(self) -> Path:
        """What the services print."""
        return self.root / "logs"

    def remove(self) -> None:
        """Delete everything the quickstart made."""
        shutil.rmtree(self.root, ignore_errors=True)
