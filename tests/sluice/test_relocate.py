import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.relocate import Patch, restore

PLACEHOLDER = "/opt/" + "placehold_" * 12
PREFIX = "/srv/env"
TEXTS = st.lists(st.sampled_from(["a", "lib", ":", PLACEHOLDER, "\n", "ü"]), max_size=12).map("".join)
STRINGS = st.lists(
    st.lists(st.sampled_from([b"x", b"/lib", b":", PLACEHOLDER.encode()]), max_size=4).map(b"".join),
    max_size=6,
)


def install_binary(data: bytes) -> bytes:
    """Do what conda does: shorten each C string and pad it with NULs."""

    def shorten(match):
        return match[0].replace(PLACEHOLDER.encode(), PREFIX.encode()).ljust(len(match[0]), b"\0")

    return re.sub(re.escape(PLACEHOLDER.encode()) + rb"[^\0]*\0", shorten, data)


@given(TEXTS)
def test_text_gets_its_placeholder_back(text):
    installed = text.replace(PLACEHOLDER, PREFIX).encode()
    assert restore(installed, PREFIX, Patch(PLACEHOLDER, "text")) == text.encode()


@given(STRINGS)
def test_binary_gets_its_placeholder_and_its_length_back(strings):
    packaged = b"\x7fELF" + b"\0".join(strings) + b"\0tail"
    installed = install_binary(packaged)
    assert len(installed) == len(packaged)
    assert restore(installed, PREFIX, Patch(PLACEHOLDER, "binary")) == packaged


def test_binary_that_no_installer_wrote_is_left_for_the_hash_to_tell():
    data = PREFIX.encode() + b"\0not padding" * 40
    assert restore(data, PREFIX, Patch(PLACEHOLDER, "binary")) == data


SPACED = "/a b/é"


@pytest.mark.parametrize(
    ("packaged", "installed"),
    [
        (b"#!@/bin/python\nx\n", b"#!/bin/sh\n'''exec' \"/a b/\xc3\xa9/bin/python\" \"$0\" \"$@\" #'''\nx\n"),
        (
            b"#!@/bin/python3.11 -I\n",
            b"#!/bin/sh\n'''exec' \"/a b/\xc3\xa9/bin/python3.11\" -I \"$0\" \"$@\" #'''\n",
        ),
        (b"#!@/bin/perl -w\nx\n", b"#!/usr/bin/env perl -w\nx\n"),
        (b"#!/usr/bin/env perl\n@\n", b"#!/usr/bin/env perl\n/a b/\xc3\xa9\n"),
        (b"#!/bin/sh\nexec @/bin/x\n", b"#!/bin/sh\nexec /a b/\xc3\xa9/bin/x\n"),
    ],
)
def test_first_lines_are_restored_where_the_prefix_has_a_space(packaged, installed):
    patch = Patch("/placeholder", "text")
    assert restore(installed, SPACED, patch) == packaged.replace(b"@", b"/placeholder")
    # Elsewhere no installer writes these forms, so they are the package's own.
    assert restore(installed, "/a", patch) == installed.replace(b"/a", b"/placeholder")


@given(st.binary(max_size=80))
def test_a_script_that_names_no_prefix_keeps_its_text(data):
    assert (
        restore(b"#!/bin/bash\n" + data, "/a b/nowhere", Patch("/placeholder", "text"))
        == b"#!/bin/bash\n" + data
    )
