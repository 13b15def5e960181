"""Vulnerability databases as they are found, and environments looked up in them."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.lock import Lock, LockedPackage
from sluice.package import PackageId
from sluice_channel.errors import AdvisoryError, NoAdvisoriesError
from sluice_channel.registries.memory import MemoryRegistry
from sluice_channel.registry import Registration
from sluice_channel.vulnerabilities import cvss, loading, source
from sluice_channel.vulnerabilities.audit import audit, subjects
from sluice_channel.vulnerabilities.memory import MemoryAdvisories
from sluice_channel.vulnerabilities.osv import Advisory


def document(identifier="GHSA-1", project="torch", events=None, **more):
    ranges = [{"type": "ECOSYSTEM", "events": events or [{"introduced": "0"}, {"fixed": "2.13.1"}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": project}, "ranges": ranges}]
    return {
        "id": identifier,
        "modified": "2026-01-01T00:00:00Z",
        "summary": "Bad",
        "affected": affected,
    } | more


def parsed(**change):
    return Advisory.parse(json.dumps(document(**change)).encode())


def zipped(path, documents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in documents.items():
            archive.writestr(name, content if isinstance(content, (str, bytes)) else json.dumps(content))
    return path


def package(filename, *, depends=("python >=3",), purls=()):
    return LockedPackage(
        PackageId.parse(filename),
        "linux-64",
        f"http://h/main/linux-64/{filename}",
        Digest.of(filename.encode()),
        depends=depends,
        purls=purls,
    )


def lock(*packages):
    return Lock(Digest.of(b""), (), {"linux-64": packages})


TORCH = package("pytorch-2.13.0-cpu_py311h1_0.conda")


def test_a_database_is_loaded_and_what_is_wrong_with_it_is_counted(tmp_path):
    advisories = MemoryAdvisories()
    path = zipped(
        tmp_path / "osv.zip",
        {
            "GHSA-1.json": document(),
            "sub/GHSA-2.json": document("GHSA-2", "NumPy"),
            "withdrawn.json": document("GHSA-3", withdrawn="2026-01-02T00:00:00Z"),
            "npm.json": {"id": "N", "affected": [{"package": {"ecosystem": "npm", "name": "torch"}}]},
            "broken.json": "{",
            "list.json": "[]",
            "deep.json": "[" * 100_000,
            "id.json": document("no id"),
            "unread.json": document("GHSA-4", events=[{"introduced": "0"}, {"fixed": "x y"}])
            | {
                "affected": [
                    document(events=[{"introduced": "0"}, {"fixed": "x y"}])["affected"][0]
                    | {"versions": ["1.0"]}
                ]
            },
            "README": "not a document",
        },
    )
    loaded = loading.load(advisories, path, now=7)
    edition = loaded.edition
    assert (edition.advisories, edition.left_out, edition.malformed, edition.unread) == (3, 2, 4, 1)
    assert edition.digest == Digest.of_file(path)
    assert len(loaded.examples) == 4
    assert set(advisories.about(["torch", "numpy"])) == {"torch", "numpy"}
    folder = tmp_path / "folder"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "link.json").symlink_to("/etc/passwd")
    again = loading.load(advisories, folder, now=8).edition
    assert (again.advisories, again.malformed) == (3, 4)


def test_a_database_that_cannot_be_used_leaves_the_old_one(tmp_path):
    advisories = MemoryAdvisories()
    loading.load(advisories, zipped(tmp_path / "good.zip", {"a.json": document()}), now=1)
    (tmp_path / "no.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    for path in (
        tmp_path / "no.zip",
        tmp_path / "none",
        tmp_path / "empty",
        zipped(tmp_path / "only.zip", {"a.json": "{"}),
    ):
        with pytest.raises(AdvisoryError) as caught:
            loading.load(advisories, path, now=2)
        assert "\n" not in str(caught.value)
    assert advisories.edition().loaded_at == 1


def test_zip_bombs(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    zipped(path, {"a.json": b" " * (64 << 20), "b.json": document()})
    assert path.stat().st_size < 1 << 20
    found = dict(source.documents(path))
    assert found["a.json"] is None
    assert found["b.json"]
    # The size that is said may be a lie: what is unpacked is counted.
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, 10)
    (tmp_path / "lie.zip").write_bytes(data)
    assert dict(source.documents(tmp_path / "lie.zip"))["a.json"] is None
    monkeypatch.setattr(source, "MAX_DIRECTORY", 10)
    with pytest.raises(AdvisoryError, match="list of members"):
        list(source.documents(path))
    monkeypatch.setattr(source, "MAX_DIRECTORY", 1 << 20)
    monkeypatch.setattr(source, "MAX_DOCUMENTS", 1)
    with pytest.raises(AdvisoryError, match="more than 1 documents"):
        list(source.documents(path))


def test_the_list_of_members_of_a_large_zip_file_is_measured_too():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(70_000):  # more than an end record of the old kind can count
            archive.writestr(f"{number}.json", "")
    size = len(buffer.getvalue())
    with zipfile.ZipFile(buffer) as archive:
        start = archive.start_dir
    measured = source._directory_size(buffer, size)
    assert 70_000 * 46 < measured <= size - start


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_zip_file_is_told_of_or_survived(data, tmp_path_factory):
    path = zipped(
        tmp_path_factory.getbasetemp() / "damaged.zip", {"a.json": document(), "b.json": document("B")}
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        read = list(source.documents(path))
    except AdvisoryError:
        return
    for _, text in read:
        with contextlib.suppress(AdvisoryError):
            Advisory.parse(text or b"")


def test_an_advisory_survives_being_kept():
    one = parsed(aliases=["CVE-1", 7, "<x>"], severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/x"}])
    assert one.aliases == ("CVE-1",)
    assert Advisory.decode(one.encode()) == one


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["id", "affected", "severity", "aliases", "summary", "database_specific", "withdrawn"]
        ),
        json_values,
    ),
    json_values,
    json_values,
)
def test_any_document_is_read_or_malformed(change, ranges, versions):
    affected = [{"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": ranges, "versions": versions}]
    for text in (document() | change, document() | {"affected": affected}):
        try:
            advisory = Advisory.parse(json.dumps(text).encode())
        except AdvisoryError:
            continue
        assert advisory is None or Advisory.decode(advisory.encode()) == advisory


def test_packages_are_found_by_their_conda_names_and_their_purls():
    known, others = subjects(
        lock(
            TORCH,
            package("redis-7.2-h1.conda", depends=("libgcc",)),
            package("numpy-2.0-0.conda", depends=(), purls=("pkg:pypi/NumPy@2.0.1?source=x",)),
            package("typing_extensions-4.16.0-pyh1_0.conda", depends=()),
            package("bundle-1-0.conda", purls=("pkg:pypi/a", "pkg:pypi/b.c", "pkg:deb/x")),
        )
    )
    assert [(each.name, each.project, each.project_version, each.sure) for each in known] == [
        ("bundle", "a", "1", True),
        ("bundle", "b-c", "1", True),
        ("numpy", "numpy", "2.0.1", True),
        ("pytorch", "torch", "2.13.0", False),
        ("typing_extensions", "typing-extensions", "4.16.0", False),
    ]
    assert others == ("redis",)


def test_findings_name_the_fix_and_come_worst_first():
    worst = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    low = parsed(identifier="LOW", database_specific={"severity": "LOW"})
    high = parsed(
        identifier="HIGH",
        events=[{"introduced": "2.0"}, {"fixed": "2.0.5"}, {"introduced": "2.13"}, {"fixed": "2.14"}],
        severity=[{"type": "CVSS_V3", "score": worst}],
    )
    past = parsed(identifier="PAST", events=[{"introduced": "0"}, {"fixed": "2.13.0"}])
    found = audit(lock(TORCH), {"torch": (low, high, past)})
    told = [(each.advisory.id, each.advisory.severity, each.fixed) for each in found.findings]
    assert told == [("HIGH", "CRITICAL", ("2.14",)), ("LOW", "LOW", ("2.13.1",))]
    assert found.findings[0].as_json()["score"] == 9.8
    assert (found.checked, found.others, found.unreadable) == (1, (), ())


def test_a_version_that_cannot_be_compared_is_told():
    odd = package("tool-1.1.1w_x-py311_0.conda")
    assert audit(lock(odd), {"tool": (parsed(project="tool"),)}).unreadable == ("tool 1.1.1w_x",)
    assert audit(lock(odd), {}).unreadable == ()


@pytest.mark.parametrize(
    ("vector", "expected"),
    [  # base scores that the specification's calculator gives
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:H", 4.7),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/AV:N", None),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("", None),
    ],
)
def test_cvss(vector, expected):
    assert cvss.score(vector) == expected


def test_an_environment_is_audited_at_any_version(tmp_path):
    registry, advisories = MemoryRegistry(), MemoryAdvisories()
    name = "vision-digits-pt213-cpu"
    registered = Registration(name, "", "pixi", b"", lock(TORCH), 1)
    version, _ = registry.register("main", registered, now=1)
    with pytest.raises(NoAdvisoriesError):
        loading.audited(registry, advisories, "main", version)
    loading.load(advisories, zipped(tmp_path / "a.zip", {"a.json": document()}), now=1)
    edition, found = loading.audited(registry, advisories, "main", version)
    assert [each.advisory.id for each in found.findings] == ["GHSA-1"]
    text = loading.audit_text(version, edition, found)
    assert "pytorch 2.13.0  GHSA-1  fixed in 2.13.1  Bad" in text
    told = loading.audit_json(version, edition, found)
    assert told["findings"][0]["project"] == "torch"
