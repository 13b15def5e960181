"""uvicorn's HTTP protocol with bounds: a request's head, its trailers and its chunks' headers may not be endless.

uvicorn keeps all of a head in memory until it ends. Bodies are bounded by whoever reads them.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD: Final = 64 << 10  # bytes between the bodies of a connection
MAX_FIELDS: Final = 128  # header fields and trailers of one request


class BoundedProtocol(HttpToolsProtocol):
    """Refuses what is too large with one line, and closes the connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **options)
        self._between = 0  # bytes since the last one of a body, or since the last request's end

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        self._between += len(data)
        super().data_received(data)
        if self._between > MAX_HEAD:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request's head has at most {MAX_HEAD} bytes"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field or a trailer."""
        if len(self.headers) >= MAX_FIELDS:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"a request has at most {MAX_FIELDS} header fields",
            )
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the request was refused."""
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._between = 0
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take a request's end."""
        self._between = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, told: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps({"error": told}).encode()
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                + body
            )
        self.transport.close()
