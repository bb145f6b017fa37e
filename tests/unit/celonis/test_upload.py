"""How a chunk goes up: from disk, in pieces, whole, and in bounded time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from connector.celonis.auth import KeyAuth, OAuthClientCredentials
from connector.celonis.client import DataPushClient
from connector.config import OAuth
from connector.errors import CelonisUnreachable, Reaction
from tests.unit.celonis.wire import POOL, TEAM

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = 300 << 20


class Weighing(httpx.BaseTransport):
    """Takes bodies piece by piece, as a socket does, and keeps only their sizes."""

    def __init__(self, *statuses: int, on_piece: Callable[[], None] = lambda: None) -> None:
        self._statuses, self._on_piece = list(statuses), on_piece
        self.largest = 0
        self.lengths: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 900})
        assert isinstance(request.stream, httpx.SyncByteStream)
        length = 0
        for piece in request.stream:
            self.largest = max(self.largest, len(piece))
            length += len(piece)
            self._on_piece()
        assert length == int(request.headers["content-length"])
        self.lengths.append(length)
        return httpx.Response(self._statuses.pop(0))


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    path = tmp_path / "chunk.parquet"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


def test_memory_never_holds_the_chunk_also_when_it_goes_up_twice(sparse: Path) -> None:
    transport = Weighing(401, 200)
    auth = OAuthClientCredentials(
        OAuth.model_validate({"client_id": "c", "client_secret": "s"}), f"{TEAM}/oauth2/token"
    )
    with DataPushClient(TEAM, POOL, auth, transport=transport) as client:
        tracemalloc.start()
        try:
            client.add_upserts("job-1", sparse)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(transport.lengths) == 2
    assert transport.lengths[0] == transport.lengths[1] > LARGE, (
        "after the token was refreshed the whole chunk goes again"
    )
    assert transport.largest <= 1 << 20
    assert peak < 8 << 20


def test_an_upload_ends_when_its_time_is_over(sparse: Path) -> None:
    transport = Weighing(200)
    client = DataPushClient(TEAM, POOL, KeyAuth("AppKey", "k"), transport=transport, upload_timeout=0.001)
    with client, pytest.raises(CelonisUnreachable, match=r"took longer than celonis\.upload_timeout") as caught:
        client.add_upserts("job-1", sparse)
    assert caught.value.reaction is Reaction.COMPARE
    assert transport.lengths == []


def test_a_chunk_that_the_disk_lost_is_no_matter_of_the_platform(tmp_path: Path) -> None:
    client = DataPushClient(TEAM, POOL, KeyAuth("AppKey", "k"), transport=Weighing(200))
    with client, pytest.raises(FileNotFoundError):
        client.add_upserts("job-1", tmp_path / "gone")


def test_a_chunk_that_the_disk_cannot_read_is_no_matter_of_the_platform() -> None:
    client = DataPushClient(TEAM, POOL, KeyAuth("AppKey", "k"), transport=Weighing(200))
    with client, pytest.raises(OSError, match="Is a directory"):
        client.add_upserts("job-1", Path("/"))
