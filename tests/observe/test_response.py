"""The response reader: what it makes of good, odd and hostile bytes, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtm.observe.response import (
    BODY_MAX_BYTES,
    CHUNK_OVERHEAD_MAX_BYTES,
    HEAD_MAX_BYTES,
    HEADERS_MAX,
    LINE_MAX_BYTES,
    Phase,
    ResponseError,
    ResponseReader,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes, eof: bool = False, head_only: bool = False, body_max: int = BODY_MAX_BYTES) -> ResponseReader:
    reader = ResponseReader(head_only=head_only, body_max=body_max)
    for part in parts:
        reader.feed(part)
    if eof:
        reader.eof()
    return reader


def fault(*parts: bytes, eof: bool = False) -> str:
    with pytest.raises(ResponseError) as caught:
        read(*parts, eof=eof)
    return str(caught.value)


def outcome(parts: list[bytes], *, head_only: bool, body_max: int) -> object:
    """Everything that can be seen of a reading, as one comparable value; any exception but our own escapes."""
    reader = ResponseReader(head_only=head_only, body_max=body_max)
    try:
        for part in parts:
            reader.feed(part)
        reader.eof()
    except ResponseError as error:
        return str(error)
    return reader.status, reader.reason, reader.headers, reader.body, reader.phase


def test_a_plain_answer() -> None:
    reader = read(OK + b"Content-Length: 2\r\nX-Served-By:  web-1 \r\n\r\nok")
    assert (reader.status, reader.reason, reader.body, reader.phase) == (200, "OK", b"ok", Phase.DONE)
    assert reader.headers == ((b"content-length", b"2"), (b"x-served-by", b"web-1"))


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200 sehr gut \xfc\n"]
)
def test_forms_of_the_status_line(line: bytes) -> None:
    assert read(line + b"\r\n", eof=True).status == 200


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1  200 OK\r\n", b"HTTP/1.x 200 OK\r\n", b"HTTP/1.1 \r\n",
     b"HTTP/1.1 099 No\r\n", b"HTTP/1.1 200 a\x00b\r\n"],
)  # fmt: skip
def test_bad_status_lines(line: bytes) -> None:
    assert fault(line).startswith("the status line makes no sense: 'HTTP/1.")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1: 'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/2.0 200 OK\r\n", "not HTTP/1: 'HTTP/2.0 200 OK'"),
        (b"\x16\x03\x01" + b"\x00" * 60, "not HTTP/1: '" + "." * 40 + "'"),
        (b"\r\nHTTP/1.1 200 OK\r\n", "not HTTP/1: ''"),
    ],
)
def test_other_protocols_are_named_by_what_they_say(sent: bytes, words: str) -> None:
    assert fault(sent) == words


def test_short_garbage_is_known_at_the_end() -> None:
    assert fault(b"hello", eof=True) == "not HTTP/1: 'hello'"
    assert read(b"HTT").phase is Phase.STATUS


def test_without_length_the_body_ends_with_the_connection() -> None:
    reader = read(OK + b"\r\nhello")
    assert (reader.phase, reader.head_done) == (Phase.BODY, True)
    reader.feed(b" there")
    reader.eof()
    assert (reader.body, reader.phase) == (b"hello there", Phase.DONE)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"101 Switching Protocols"])
def test_answers_that_have_no_body(status: bytes) -> None:
    assert read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n").phase is Phase.DONE


def test_the_answer_to_head_has_no_body() -> None:
    assert read(OK + b"Content-Length: 5000\r\n\r\n", head_only=True).phase is Phase.DONE


def test_interim_answers_are_skipped() -> None:
    reader = read(
        b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"C: d\r\n\r\n", eof=True
    )
    assert (reader.status, reader.headers) == (200, ((b"c", b"d"),))
    assert fault(b"HTTP/1.1 100 Continue\r\n\r\n" * 11) == "more than 10 interim responses"


def test_chunks_extensions_and_trailers() -> None:
    reader = read(CHUNKED + b"5;name=value\r\nhello\r\n00006 \r\n there\r\n0\r\nExpires: never\r\n\r\nignored")
    assert (reader.body, reader.phase) == (b"hello there", Phase.DONE)


def test_chunked_beats_length_and_other_codings_last_to_the_close() -> None:
    assert read(OK + b"Content-Length: 99\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n").body == b"x"
    assert read(OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nzzz", eof=True).body == b"zzz"


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        (b"x\r\n", "a chunk size makes no sense: 'x'"),
        (b"-1\r\n", "a chunk size makes no sense: '-1'"),
        (b"0x5\r\n", "a chunk size makes no sense: '0x5'"),
        (b"fffffffff\r\n", "a chunk size makes no sense: 'fffffffff'"),
        (b"\r\n", "a chunk size makes no sense: ''"),
        (b"2\r\nabc\r\n", "a chunk is longer than its size"),
    ],
)
def test_bad_chunks(chunks: bytes, words: str) -> None:
    assert fault(CHUNKED + chunks) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length is given twice, and differs"),
        (b"Content-Length: 5, 6\r\n", "Content-Length is given twice, and differs"),
        (b"Content-Length: -5\r\n", "Content-Length makes no sense: '-5'"),
        (b"Content-Length: \xb2\r\n", "Content-Length makes no sense: '.'"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", "Content-Length makes no sense: '" + "9" * 40 + "...'"),
        (b"no colon\r\n", "a header makes no sense: 'no colon'"),
        (b"Name : value\r\n", "a header makes no sense: 'Name : value'"),
        (b" folded: first\r\n", "the first header begins with white space"),
        (b"A: b\x00c\r\n", "a control character in a header: 'A: b.c'"),
    ],
)
def test_bad_headers(fields: bytes, words: str) -> None:
    assert fault(OK + fields + b"\r\n") == words


def test_a_length_given_twice_alike_is_one_length() -> None:
    assert read(OK + b"Content-Length: 1\r\nContent-Length: 1, 1\r\n\r\nx").body == b"x"


def test_folded_headers_are_joined() -> None:
    assert read(OK + b"A: b\r\n  c\r\n\td\r\n\r\n").headers == ((b"a", b"b c d"),)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "connection closed while waiting for the status line"),
        (b"HTTP/1.1 200", "connection closed while waiting for the status line"),
        (OK + b"A: b\r\n", "connection closed while reading the headers"),
        (OK + b"Content-Length: 5\r\n\r\nabc", "connection closed while reading the body"),
        (CHUNKED, "connection closed while reading a chunk size"),
        (CHUNKED + b"5\r\nabc", "connection closed while reading the body"),
        (CHUNKED + b"3\r\nabc", "connection closed while reading the end of a chunk"),
        (CHUNKED + b"0\r\n", "connection closed while reading the trailers"),
    ],
)
def test_closed_too_early(sent: bytes, words: str) -> None:
    assert fault(sent, eof=True) == words


def test_limits() -> None:
    assert fault(b"HTTP/1.1 200 " + b"x" * LINE_MAX_BYTES) == (
        f"a line is longer than {LINE_MAX_BYTES} bytes while waiting for the status line"
    )
    field = b"A: " + b"x" * 4000 + b"\r\n"
    assert fault(OK + field * 5) == f"the headers are longer than {HEAD_MAX_BYTES} bytes"
    assert fault(OK + b"A: b\r\n" * (HEADERS_MAX + 1)) == f"more than {HEADERS_MAX} headers"
    assert fault(CHUNKED + (b"1;" + b"e" * 1000 + b"\r\nx\r\n") * 1000) == (
        f"the chunk framing is longer than {CHUNK_OVERHEAD_MAX_BYTES} bytes"
    )


@pytest.mark.parametrize("head", [b"\r\n", b"Content-Length: 999999999\r\n\r\n"])
def test_a_body_is_read_up_to_its_limit_and_no_further(head: bytes) -> None:
    reader = read(OK + head, b"a" * 100, b"b" * BODY_MAX_BYTES)
    assert (len(reader.body), reader.phase) == (BODY_MAX_BYTES, Phase.DONE)
    reader.feed(b"c" * 100)
    assert len(reader.body) == BODY_MAX_BYTES


def test_a_chunked_body_is_read_up_to_its_limit() -> None:
    reader = read(CHUNKED + b"ffffffff\r\n" + b"a" * (BODY_MAX_BYTES + 1))
    assert (len(reader.body), reader.phase) == (BODY_MAX_BYTES, Phase.DONE)


PIECES = st.sampled_from(
    [
        OK, b"HTTP/1.1 100 Continue\r\n", b"HTTP/1.0 503 no\n", b"HTTP/1.", b"\r\n", b"\n", b"\r", b" ", b":", b"0\r\n",
        b"Content-Length: 5\r\n", b"Content-Length: 70000\r\n", b"Transfer-Encoding: chunked\r\n", b"A: b\r\n",
        b" fold\r\n",
        b"5\r\nhello\r\n", b"a;x=y\r\n", b"hello", b"x" * 39, b"x" * 4000, b"\r\n\r\n", b"ffff\r\n", b"0\r\n\r\n",
    ]
)  # fmt: skip
STREAMS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=20).map(b"".join),
    st.lists(PIECES, max_size=12).map(lambda pieces: OK + b"".join(pieces)),
    st.lists(PIECES, max_size=12).map(lambda pieces: CHUNKED + b"".join(pieces)),
)


@settings(max_examples=500)
@given(
    stream=STREAMS,
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
    head_only=st.booleans(),
    body_max=st.sampled_from([0, 1, 7, BODY_MAX_BYTES]),
)
def test_however_it_is_cut_the_outcome_is_the_same(
    stream: bytes, cuts: list[int], head_only: bool, body_max: int
) -> None:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    parts = [stream[a:b] for a, b in pairwise(edges)]
    whole = outcome([stream], head_only=head_only, body_max=body_max)
    assert outcome(parts, head_only=head_only, body_max=body_max) == whole


@given(stream=STREAMS)
def test_byte_by_byte_is_the_same_as_at_once(stream: bytes) -> None:
    stream = stream[:3000]
    single = [stream[i : i + 1] for i in range(len(stream))]
    assert outcome(single, head_only=False, body_max=1000) == outcome([stream], head_only=False, body_max=1000)


@given(body=st.binary(max_size=300), sizes=st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_what_is_chunked_comes_back_whole(body: bytes, sizes: list[int]) -> None:
    stream, at = CHUNKED, 0
    for index in range(len(body)):
        size = sizes[index % len(sizes)]
        if at >= len(body):
            break
        part = body[at : at + size]
        stream += b"%x\r\n%b\r\n" % (len(part), part)
        at += size
    assert read(stream + b"0\r\n\r\n").body == body
