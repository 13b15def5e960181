"""The platforms a channel may have a folder for (CEP 26)."""

from __future__ import annotations

NOARCH = "noarch"
DEFAULT = ("linux-64", NOARCH)  # always indexed, so that a client never meets a 404 for them

# The platforms that conda, mamba, pixi and rattler know; a folder of another name is not a subdir.
KNOWN = frozenset(
    {
        NOARCH,
        "emscripten-wasm32",
        "freebsd-64",
        "freebsd-arm64",
        "linux-32",
        "linux-64",
        "linux-aarch64",
        "linux-armv6l",
        "linux-armv7l",
        "linux-loongarch64",
        "linux-ppc64",
        "linux-ppc64le",
        "linux-riscv32",
        "linux-riscv64",
        "linux-s390x",
        "osx-64",
        "osx-arm64",
        "wasi-wasm32",
        "win-32",
        "win-64",
        "win-arm64",
        "zos-z",
    }
)
