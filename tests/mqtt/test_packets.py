"""The socket under paho: splits the stream into packets, however it is cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mqtt.packets import PacketSocket, Publish

Streams = tuple[socket.socket, PacketSocket]


def _length(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet on the wire; `publish` is what it should be read as, None for packets that paho handles."""

    wire: bytes
    publish: Publish | None


def _publish_packet(
    publish: Publish, *, qos: int, properties: bytes | None, message_id: int | None = None
) -> Packet:
    first = 0x30 | publish.is_redelivery << 3 | qos << 1 | publish.is_retained
    body = len(publish.topic).to_bytes(2, "big") + publish.topic
    if qos:
        body += (publish.message_id if message_id is None else message_id).to_bytes(2, "big")
    if properties is not None:
        body += _length(len(properties)) + properties
    body += publish.payload
    return Packet(bytes([first]) + _length(len(body)) + body, publish if qos < 2 else None)


def _packets(is_v5: bool) -> st.SearchStrategy[Packet]:
    properties = st.binary(max_size=200) if is_v5 else st.none()
    payloads = st.binary(max_size=50) | st.integers(0, 20_000).map(bytes)

    def at_qos(qos: int) -> st.SearchStrategy[Packet]:
        publishes = st.builds(
            Publish,
            topic=st.binary(max_size=40),
            payload=payloads,
            message_id=st.integers(1, 65_535) if qos else st.just(0),
            is_redelivery=st.booleans() if qos else st.just(False),
            is_retained=st.booleans(),
        )
        return st.builds(_publish_packet, publishes, qos=st.just(qos), properties=properties)

    others = st.builds(
        lambda kind, flags, body: Packet(bytes([kind << 4 | flags]) + _length(len(body)) + body, None),
        st.sampled_from([2, 4, 5, 6, 7, 9, 11, 13, 14, 15]),
        st.integers(0, 15),
        st.binary(max_size=300),
    )
    return at_qos(0) | at_qos(1) | at_qos(2) | others


STREAMS = st.booleans().flatmap(
    lambda is_v5: st.tuples(st.just(is_v5), st.lists(_packets(is_v5), max_size=8), st.data())
)


class _Paho:
    """Takes the packets that are left to paho, in pieces as small as paho does."""

    def __init__(self, sock: PacketSocket) -> None:
        self._sock = sock
        self.packets: list[bytes] = []

    def take(self) -> None:
        packet = b""
        try:
            while piece := self._sock.recv(1 + len(packet) % 7):
                packet += piece
        except BlockingIOError:
            self.packets.append(packet)


@given(stream=STREAMS)
def test_however_the_stream_is_cut_the_packets_are_the_same(
    stream: tuple[bool, list[Packet], st.DataObject],
) -> None:
    is_v5, packets, data = stream
    wire = b"".join(packet.wire for packet in packets)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12).map(sorted))
    far, near = socket.socketpair()
    with far, near:
        near.setblocking(False)
        sock = PacketSocket(near, has_properties=is_v5)
        paho, found = _Paho(sock), list[Publish]()
        for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            far.sendall(wire[start:stop])
            found += sock.read(paho.take)
        assert found == [packet.publish for packet in packets if packet.publish is not None]
        assert paho.packets == [packet.wire for packet in packets if packet.publish is None]
        assert sock.read(paho.take) == []


@pytest.fixture
def streams() -> Iterator[Streams]:
    """The broker's end of a connection, and ours in MQTT 5."""
    far, near = socket.socketpair()
    with far, near:
        near.setblocking(False)
        yield far, PacketSocket(near, has_properties=True)


def _nothing() -> None:
    raise AssertionError("no packet for paho was sent")


@pytest.mark.parametrize(
    "wire",
    [
        b"\x32\xff\xff\xff\xff\x01",  # five bytes of length
        b"\x32\x80\x80\x80\x80",
        b"\x30\x00",  # no topic
        b"\x30\x01\x00",
        b"\x30\x02\x00\x05",  # the topic is longer than the packet
        b"\x30\x02\xff\xff",
        b"\x32\x03\x00\x01t",  # no message id
        b"\x32\x04\x00\x01t\x01",  # half a message id
        b"\x32\x05\x00\x01t\x00\x01",  # no properties
        b"\x32\x06\x00\x01t\x00\x01\x7f",  # properties longer than the packet
        b"\x32\x06\x00\x01t\x00\x01\xff",  # a length of properties without an end
        b"\x32\x0a\x00\x01t\x00\x01\xff\xff\xff\xff\x7f",
        b"\x32\x05\x00\x01t\x00\x00",  # message id 0 at QoS 1
    ],
)
@pytest.mark.parametrize("more", [b"", b"\xd0\x00", b"\x30\x06\x00\x01t\x00{}" * 3])
def test_a_malformed_packet_ends_the_connection(streams: Streams, wire: bytes, more: bytes) -> None:
    far, sock = streams
    far.sendall(wire + more)
    with pytest.raises(ConnectionError):
        sock.read(lambda: None)


@given(wire=st.binary(max_size=60))
@example(wire=b"\x32\x02\x00\x00")
def test_arbitrary_bytes_are_read_or_end_the_connection(wire: bytes) -> None:
    for has_properties in (True, False):
        far, near = socket.socketpair()
        with far, near:
            near.setblocking(False)
            sock = PacketSocket(near, has_properties=has_properties)
            far.sendall(wire)
            with suppress(ConnectionError):
                assert len(sock.read(lambda: None)) <= len(wire)


def test_nothing_to_read_is_nothing_and_the_end_is_an_error(streams: Streams) -> None:
    far, sock = streams
    assert sock.read(_nothing) == []
    far.close()
    with pytest.raises(ConnectionError, match="closed"):
        sock.read(_nothing)


def test_paho_is_given_one_packet_at_a_time(streams: Streams) -> None:
    far, sock = streams
    far.sendall(b"\xd0\x00\xd0\x00")
    taken: list[bytes] = []
    sock.read(lambda: taken.append(sock.recv(100)))
    assert taken == [b"\xd0\x00", b"\xd0\x00"]
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_what_is_written_goes_out_in_one_piece(streams: Streams) -> None:
    far, sock = streams
    assert sock.send(b"abc") == 3
    sock.acknowledge([1, 0x1234])
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(100)
    assert sock.flush()
    assert far.recv(100) == b"abc\x40\x02\x00\x01\x40\x02\x12\x34"


def test_what_does_not_fit_is_written_later(streams: Streams) -> None:
    far, sock = streams
    sent = bytes(5_000_000)
    sock.send(sent)
    assert not sock.flush()
    received = bytearray()
    while not sock.flush():
        received += far.recv(1_000_000)
    while len(received) < len(sent):
        received += far.recv(1_000_000)
    assert received == sent


def test_finishing_says_goodbye_and_waits_for_the_end(streams: Streams) -> None:
    far, sock = streams
    heard = bytearray()

    def listen() -> None:
        far.sendall(b"\xd0\x00" * 1000)
        while data := far.recv(100):
            heard.extend(data)
        far.close()

    listener = threading.Thread(target=listen)
    listener.start()
    sock.acknowledge([7])
    sock.finish(timeout_s=10)
    listener.join(timeout=5)
    assert bytes(heard) == b"\x40\x02\x00\x07\xe0\x00"


def test_finishing_does_not_wait_long_for_a_broker_that_stays_silent(streams: Streams) -> None:
    _, sock = streams
    started = time.monotonic()
    sock.finish(timeout_s=0.05)
    assert time.monotonic() - started < 5


def test_closing_writes_what_is_left(streams: Streams) -> None:
    far, sock = streams
    sock.acknowledge([7])
    sock.close()
    assert far.recv(100) == b"\x40\x02\x00\x07"
    assert far.recv(100) == b""
    assert sock.fileno() == -1
