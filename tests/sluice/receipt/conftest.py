"""An answer, and keys that never change, so that their signatures can be compared."""

from datetime import UTC, datetime

import pytest

from sluice.digest import Digest
from sluice.receipt import Answer, Receipt
from sluice.receipt.key import PrivateKey
from sluice.receipt.published import PublishedKey

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
ANSWER = Answer(
    task="0192f0c1a2b3d4e5f6a7b8c9",
    model="digits",
    environment="vision-digits-pt213-cpu",
    deterministic=True,
    enqueued=datetime(2026, 1, 31, 12, 0, 0, 1, UTC),
    started=datetime(2026, 1, 31, 12, 0, 0, 250, UTC),
    finished=datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC),
    lock=Digest("1" * 64),
    lock_url="http://channel/envs/vision-digits-pt213-cpu/11.lock",
    tree=Digest("2" * 64),
    package="digits-1.0.0-h0_0.conda",
    package_digest=Digest("3" * 64),
    profile=Digest("4" * 64),
    profile_document={"threads": 1, "isa": "avx2", "deterministic": True},
    input=Digest("5" * 64),
    output=Digest("6" * 64),
    scheduler="sluice-scheduler",
    scheduler_version="0.1.0",
    scheduler_digest=Digest("7" * 64),
)


@pytest.fixture
def answer():
    return ANSWER


@pytest.fixture(scope="module")
def answer_of():
    """Give the answer to property tests, which may not use a fixture of each test."""
    return ANSWER


@pytest.fixture
def key():
    return KEY


@pytest.fixture
def other():
    return OTHER


@pytest.fixture
def receipt():
    return Receipt.sign(ANSWER, KEY)


@pytest.fixture(scope="module")
def signed():
    """Give the receipt to property tests, which may not use a fixture of each test."""
    return Receipt.sign(ANSWER, KEY)


@pytest.fixture
def keys():
    return (PublishedKey(KEY.public),)
