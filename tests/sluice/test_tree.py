import random

from hypothesis import given
from hypothesis import strategies as st

from sluice.tree import Entry, counts, tree_digest

ENTRIES = st.lists(
    st.builds(
        Entry,
        st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=12),
        st.sampled_from(["file", "link"]),
        st.sampled_from([0o644, 0o755, 0o600, 0o775]),
        st.text("0123456789abcdef", min_size=64, max_size=64),
    ),
    unique_by=lambda entry: entry.path,
    max_size=8,
)


@given(ENTRIES, st.randoms())
def test_the_order_of_entries_does_not_count(entries, rng: random.Random):
    shuffled = list(entries)
    rng.shuffle(shuffled)
    assert tree_digest(shuffled) == tree_digest(entries)


@given(ENTRIES.filter(bool), st.sampled_from(["path", "content", "kind"]))
def test_every_field_counts(entries, field):
    first = entries[0]
    changed = {
        "path": Entry(first.path + "\x01", first.kind, first.mode, first.content),
        "content": Entry(first.path, first.kind, first.mode, first.content[::-1] + "0"),
        "kind": Entry(first.path, "file" if first.kind == "link" else "link", first.mode, first.content),
    }[field]
    assert tree_digest([changed, *entries[1:]]) != tree_digest(entries)


def test_only_the_executable_bit_of_a_mode_counts():
    def digest(mode):
        return tree_digest([Entry("a", "file", mode, "0" * 64)])

    assert digest(0o644) == digest(0o600) == digest(0o664)
    assert digest(0o755) == digest(0o775)
    assert digest(0o644) != digest(0o755)


def test_the_digest_is_what_the_format_says():
    # sha256 of b"sluice-tree 1\n" + b"a\0file\0644\0" + b"0"*64 + b"\n"
    import hashlib

    expected = hashlib.sha256(b"sluice-tree 1\n" + b"a\0file\0" + b"644\0" + b"0" * 64 + b"\n").hexdigest()
    assert tree_digest([Entry("a", "file", 0o644, "0" * 64)]).hex == expected


def test_records_and_byte_code_do_not_count():
    assert counts("lib/a.py")
    assert not counts("conda-meta/a.json")
    assert not counts("lib/__pycache__/a.cpython-311.pyc")
