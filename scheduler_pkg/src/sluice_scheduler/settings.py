"""What a daemon is told: flag > environment variable > TOML file > default.

Each setting is declared once, here: its field is the TOML key, `--name-with-dashes` the flag, `SLUICE_SCHEDULER_NAME`
the variable. The command line and the file that `sluice scheduler init` writes are made of these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluice_scheduler import values
from sluice_scheduler.breaker import THRESHOLD
from sluice_scheduler.confinement import LEAST_MEMORY, MOST_MEMORY
from sluice_scheduler.declared import Setting, setting, settings_of
from sluice_scheduler.errors import SettingsError
from sluice_scheduler.eviction import RESIDENCY
from sluice_scheduler.policy import DEFAULT_AGEING
from sluice_scheduler.regime import EXAMPLE, Regime
from sluice_scheduler.trust import Trust
from sluice_scheduler.values import SQLITE

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8720
DEFAULT_REQUEST_BYTES: Final = 8 << 20
DEFAULT_TASK_SECONDS: Final = 600.0
DEFAULT_SCRIPT_SECONDS: Final = 3600.0
DEFAULT_DRAIN_SECONDS: Final = 600.0
DEFAULT_IDLE_SECONDS: Final = 60.0
DEFAULT_UNLOAD_SECONDS: Final = 600.0
DEFAULT_RESULT_SECONDS: Final = 7 * 86_400.0
DEFAULT_WATCH_SECONDS: Final = 30.0
DEFAULT_GENERATIONS: Final = 5
MAX_INSTANCES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one daemon, checked."""

    channel: str = setting(
        help="The channel's URL, http://HOST:PORT/CHANNEL.",
        example="http://127.0.0.1:8710/main",
        check=values.channel,
    )
    env: tuple[str, ...] = setting(
        help="An environment of the channel to serve; may be repeated.",
        example=("vision-digits-pt213-cpu",),
        reload=True,
        check=values.env,
    )
    state: Path = setting(
        help="Folder of the queue, the prefixes, the logs and the run file.",
        example=Path("/var/lib/sluice-scheduler"),
    )
    prefixes: Path | None = setting(
        None,
        help="Folder to realise environments in.",
        absent="prefixes in the state folder",
        example=Path("/var/lib/sluice-scheduler/prefixes"),
    )
    queue: str = setting(
        SQLITE,
        help="Where tasks wait: sqlite (in the state folder), memory (gone when the scheduler ends), or the "
        "address of a Redis server, redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or rediss:// for TLS.",
        check=values.queue,
    )
    queue_fsync: str = setting(
        values.ALWAYS,
        help="When what the sqlite queue accepted reaches the disk: always (before it is answered), or everysec (within a "
        "second: nothing is lost by a kill, and that much by a power cut).",
        check=values.fsync,
    )
    queue_prefix: str = setting(
        "sluice:",
        help="How the queue's keys in Redis begin; one scheduler at a time serves a prefix.",
        check=values.prefix,
    )
    queue_password_file: Path | None = setting(
        None,
        help="File whose one line is the password of the Redis server.",
        absent="as the address says",
        example=Path("/etc/sluice/redis-password"),
    )
    queue_ca: Path | None = setting(
        None,
        help="Certificates, in PEM, that the Redis server's own is checked against.",
        absent="those of the system",
        example=Path("/etc/sluice/redis-ca.pem"),
    )
    host: str = setting(DEFAULT_HOST, help="Address to listen at.")
    port: int = setting(DEFAULT_PORT, help="Port to listen at; 0 takes a free one.", least=0, most=65535)
    grpc_port: int | None = setting(
        None,
        help="Port at which the Open Inference Protocol is spoken over gRPC too; 0 takes a free one. Needs the "
        "packages grpcio and protobuf.",
        absent="no gRPC",
        example=8721,
        least=0,
        most=65535,
    )
    open: bool = setting(
        False, help="Let everybody who reaches the address do everything, where there are no API keys."
    )
    instances: int = setting(
        1,
        help="Tasks that one environment runs at a time, at most.",
        least=1,
        most=MAX_INSTANCES,
        reload=True,
    )
    min_instances: int = setting(
        1,
        help="Instances that one environment has when there is nothing to do; more come while tasks wait.",
        least=0,
        most=MAX_INSTANCES,
        reload=True,
    )
    idle_seconds: float = setting(
        DEFAULT_IDLE_SECONDS,
        help="Seconds without work after which an instance beyond --min-instances is ended.",
        least=0.1,
        most=1e6,
        reload=True,
    )
    lazy: bool = setting(
        False, help="Load an environment's models with its first task, not when the scheduler starts."
    )
    unload_seconds: float = setting(
        DEFAULT_UNLOAD_SECONDS,
        help="Seconds without work after which a --lazy environment is unloaded; its next task loads it.",
        least=0.1,
        most=1e9,
    )
    budget_bytes: int | None = setting(
        None,
        help="Bytes of memory that all loaded environments take together; for another one, the least recently used "
        "are unloaded.",
        absent="80 % of what there is with --lazy, otherwise no limit",
        example=16 << 30,
        least=1,
        most=MOST_MEMORY,
    )
    residency_seconds: float = setting(
        RESIDENCY,
        help="Seconds that an environment which was loaded is not unloaded again to make room.",
        least=0,
        most=1e6,
    )
    breaker_failures: int = setting(
        THRESHOLD,
        help="Workers of an environment that end badly (crash, memory, time) within a minute before it pauses.",
        least=1,
        most=1000,
    )
    threads: int = setting(1, help="Threads of each; part of the numeric profile.")
    deterministic: bool = setting(
        True, help="Use deterministic operators only; otherwise receipts say that answers may differ."
    )
    ageing: float = setting(
        DEFAULT_AGEING,
        help="Seconds that one step of priority is worth: a task is overtaken only by those that arrive within "
        "this times the difference of their priorities.",
        least=0,
        most=1e9,
    )
    task_seconds: float = setting(
        DEFAULT_TASK_SECONDS, help="A task that runs longer is stopped.", least=0.001, most=1e9, reload=True
    )
    result_seconds: float = setting(
        DEFAULT_RESULT_SECONDS,
        help="Seconds that a task is kept after it ended, with its answer and receipt; 0 keeps it for ever.",
        least=0,
        most=1e9,
        reload=True,
    )
    max_batch: int | None = setting(
        None,
        help="Rows, a power of two, that a model which batches is run with at most. Part of what receipts name: "
        "other buckets may give other bytes.",
        absent="as the model's package says",
        example=32,
        check=values.bucket,
    )
    policy: Mapping[str, Any] = setting(
        {},
        help="How tasks are admitted, ordered and held back: limits, tenants' weights, pressure and rules.",
        example=EXAMPLE,
        reload=True,
        check=Regime.parse,
    )
    batch_wait: float = setting(
        0.0,
        help="Seconds that a task waits for others to run with when the worker was idle.",
        least=0,
        most=60,
    )
    memory_bytes: int | None = setting(
        None,
        help="Bytes of private memory that one worker process may have, its weights included; one that wants more "
        "is ended.",
        absent="no limit",
        example=4 << 30,
        least=LEAST_MEMORY,
        most=MOST_MEMORY,
    )
    network: tuple[str, ...] = setting(
        (), help="An environment whose processes may use the network; may be repeated.", example=("name",)
    )
    trusted_channels: tuple[str, ...] = setting(
        (),
        help="A channel's URL whose packages may bring TorchScript and .pt2 programs; may be repeated.",
        example=("http://127.0.0.1:8710/main",),
        check=Trust,
    )
    allow_pickles: tuple[str, ...] = setting(
        (),
        help="The sha256 of a pickle that models may load, though it runs code; may be repeated.",
        example=("0" * 64,),
        check=lambda digests: Trust(pickles=frozenset(digests)),
    )
    scripts: bool = setting(
        False, help="Run commands in the environments, as tasks that anyone who may submit tasks can submit."
    )
    script_seconds: float = setting(
        DEFAULT_SCRIPT_SECONDS, help="A command that runs longer is stopped.", least=0.001, most=1e9
    )
    watch_seconds: float = setting(
        DEFAULT_WATCH_SECONDS,
        help="Seconds after which a channel that cannot tell of newer locks by itself is asked again; 0: newer locks "
        "are deployed by `sluice scheduler deploy` only.",
        least=0,
        most=86_400,
    )
    drops: Path | None = setting(
        None,
        help="Folder in which weights are dropped, as ENVIRONMENT/MODEL/NAME/ with NAME.done beside it.",
        absent="none are taken",
        example=Path("/var/lib/sluice-scheduler/drops"),
    )
    drops_url: str | None = setting(
        None,
        help="Address under which those who replay answers find what was made of drops.",
        absent="/v1/drops of this scheduler",
        example="http://scheduler.example:8720/v1/drops",
        check=values.channel,
    )
    replace_in_place: bool = setting(
        False,
        help="Where --budget-bytes does not allow two generations of an environment at once, unload the old one before the "
        "new one is loaded; its tasks wait meanwhile. Otherwise the new one is refused.",
    )
    generations: int = setting(
        DEFAULT_GENERATIONS,
        help="Generations of each environment whose prefixes are kept, to roll back to.",
        least=1,
        most=100,
    )
    max_request_bytes: int = setting(
        DEFAULT_REQUEST_BYTES, help="The largest request taken, in bytes.", least=1, most=1 << 30, reload=True
    )
    drain_seconds: float = setting(
        DEFAULT_DRAIN_SECONDS,
        help="Seconds that the running tasks may take to finish when the scheduler stops; those that run on are "
        "ended, and run again by the next one.",
        least=0,
        most=1e6,
        reload=True,
    )

    def __post_init__(self) -> None:
        if self.drops and not self.port and not self.drops_url:
            raise SettingsError(
                "drops_url is missing: with port 0 nobody knows where dropped weights are found"
            )
        for one in SETTINGS.values():
            one.look(getattr(self, one.name))
        if self.min_instances > self.instances:
            raise SettingsError(
                f"min_instances is at most instances, {self.instances}, not {self.min_instances}"
            )

    @property
    def dropped_url(self) -> str:
        """Where what is made of drops is found."""
        return (self.drops_url or f"http://{self.host}:{self.port}/v1/drops").rstrip("/")

    @property
    def prefix_root(self) -> Path:
        """Where environments are realised."""
        return (self.prefixes or self.state / "prefixes").absolute()


SETTINGS: Final[dict[str, Setting]] = settings_of(Settings)
