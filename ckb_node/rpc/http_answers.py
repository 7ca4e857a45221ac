"""Answers of the HTTP server as bytes."""

from __future__ import annotations

from typing import Final

# Pages that may not call are refused (origin.py), so the receiver of an answer may read it.
CORS = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
PREFLIGHT = CORS + b"access-control-allow-methods: *\r\naccess-control-allow-headers: *\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
TEXT = b"content-type: text/plain; charset=utf-8\r\n"
RESULT = OK + CORS + JSON
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n" + CORS
CHUNKED = RESULT + b"transfer-encoding: chunked\r\n"
NOT_ALLOWED = b"HTTP/1.1 405 Method Not Allowed\r\n" + CORS + TEXT + b"allow: POST, OPTIONS\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    403: b"HTTP/1.1 403 Forbidden\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    413: b"HTTP/1.1 413 Payload Too Large\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    500: b"HTTP/1.1 500 Internal Server Error\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}


def refusal(status: int, text: str = "") -> bytes:
    """An answer after which the connection ends."""
    body = text.encode()
    cors = b"" if status == 403 else b"access-control-allow-origin: *\r\n"
    kind = b"content-type: text/plain; charset=utf-8\r\n" if body else b""
    length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return b"".join((_STATUS_LINES[status], cors, kind, length, body))


def whole(head: bytes, keep: bytes, body: bytes) -> bytes:
    """An answer in one piece; 204 has no length."""
    length = b"" if head is NO_CONTENT else b"content-length: %d\r\n" % len(body)
    return b"".join((head, keep, length, b"\r\n", body))


def chunk(data: bytes) -> bytes:
    """A piece of an answer of unknown length."""
    return b"%x\r\n%b\r\n" % (len(data), data)
