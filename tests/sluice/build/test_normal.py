from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.build import normal

RENDERED = """\
recipe:
  source:
  - url: file:///store/ab/x.tgz
build_configuration:
  host_platform:
    platform: linux-64
    virtual_packages:
    - __linux=6.1=0
    - __archspec=1=x86_64_v4
  directories:
    host_prefix: {root}/output/bld/x/host_env_placehold_placehold
    work_dir: {root}/output/bld/x/work
  channels:
  - file://{channel}
  timestamp: 2026-01-02T03:04:05.678Z
  packaging_settings:
    compression_level: -7
finalized_dependencies:
  host:
    - timestamp: 1580601600000
      url: file://{channel}/noarch/a-1-0.conda
"""


def run(root, channel):
    return normal.Run(
        Path(root), Path(channel), 1675777920, "", {"file:///store/ab/x.tgz": "https://h/x.tgz"}
    )


@pytest.mark.parametrize("root", ["/home/me/.cache/sluice/build/x", "/b"])
def test_the_record_of_a_run_says_nothing_about_the_run(root):
    channel = "/somewhere/channel"
    text = normal.rendered(RENDERED.format(root=root, channel=channel), run(root, channel))
    for word in (root + "/", channel, "/store", "2026", "6.1", "x86_64_v4"):
        assert word not in text
    assert "- url: https://h/x.tgz" in text
    assert "  timestamp: 2023-02-07T13:52:00Z" in text
    assert "    - timestamp: 1580601600000" in text
    assert "virtual_packages: []" in text
    assert "work_dir: /sluice/build/output/bld/x/work" in text
    assert f"url: {normal.CHANNEL}/noarch/a-1-0.conda" in text


ITEM = """\
    - build: 0
      depends:
      - lib >=1
      license: |-
        Free

        for all
      name: {name}
      fn: {name}-1-0.conda
      channel: https://h/
"""


@given(st.permutations(["alpha", "beta", "gamma"]), st.permutations(["one", "two"]))
def test_packages_that_were_installed_stand_in_one_order(host, build):
    def text(names):
        return "".join(ITEM.format(name=name) for name in names)

    def rendered(build, host):
        return (
            f"finalized_dependencies:\n  build:\n    specs:\n    - source: one\n    resolved:\n{text(build)}"
            f"  host:\n    specs: []\n    resolved:\n{text(host)}    run_exports:\n      z:\n      - a\n"
            "  run:\n    depends: []\n"
        )

    shown = normal.rendered(rendered(build, host), run("/b", "/c"))
    assert shown == rendered(["one", "two"], ["alpha", "beta", "gamma"])


@given(st.integers(min_value=20, max_value=400))
def test_a_placeholder_is_as_long_as_the_one_it_replaces(length):
    assert len(normal.placeholder(length)) == length
    assert normal.placeholder(length).startswith("/sluice/build/")
