"""Messages between the driver and its workers, in MessagePack, and the pipes they go by. Torch-free."""

import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

LENGTH = struct.Struct("!Q")  # of a message, in front of it
CHUNK = 1 << 12  # bytes that are read at first: most messages are shorter

NOW = getattr(socket, "MSG_DONTWAIT", None)  # for what is there already; not every system can ask for that

_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()


def encode(message: Any) -> bytes:
    """A message of numbers, words, bytes, lists and dictionaries, ready to be sent. TypeError for anything else.

    Tuples arrive as lists.
    """
    said = _encoder.encode(message)
    return LENGTH.pack(len(said)) + said


class End:
    """One end of a pipe. EOFError or OSError where the other end is closed, as it is when its process has ended."""

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.rest = b""  # what was read of the message behind the last one
        self._sending = threading.Lock()  # messages of two threads never mix

    def send(self, message: bytes) -> None:
        """Send what `encode` made."""
        with self._sending:
            self.socket.sendall(message)

    def send_if_idle(self, message: bytes) -> None:
        """Send a short message, unless another one is being sent or the pipe is rather full; it never waits."""
        if self._sending.acquire(blocking=False):
            try:
                if self._has_room():
                    self.socket.sendall(message)
            finally:
                self._sending.release()

    def _has_room(self) -> bool:
        if not hasattr(select, "poll"):
            return bool(select.select((), (self.socket,), (), 0.0)[1])
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        return bool(poll.poll(0))

    def receive(self) -> Any:
        """Wait for the next message."""
        data: Any = self.rest or self._read(CHUNK)
        while len(data) < LENGTH.size:
            data += self._read(CHUNK)
        end = LENGTH.size + LENGTH.unpack_from(data)[0]
        if len(data) < end:
            data = bytearray(data)
            while len(data) < end:
                data += self._read(end - len(data))
        self.rest = bytes(data[end:]) if len(data) > end else b""
        return _decoder.decode(memoryview(data)[LENGTH.size : end])

    def receive_now(self) -> Any:
        """The next message if it, or a part of it, is known to be there already, else None."""
        if not self.rest:
            if NOW is None:
                return None
            try:
                self.rest = self._read(CHUNK, NOW)
            except BlockingIOError:
                return None
        return self.receive()

    def _read(self, most: int, flags: int = 0) -> bytes:
        data = self.socket.recv(most, flags)
        if not data:
            raise EOFError
        return data

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


def pipe() -> tuple[End, End]:
    """Both ends of a new pipe."""
    one, other = socket.socketpair()
    return End(one), End(other)


class Watch:
    """Waits until there is something to read at one of some ends."""

    def __init__(self, *ends: End) -> None:
        self.ends = {end.fileno(): end for end in ends}
        self._poll: Any = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            for descriptor in self.ends:
                self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float | None = None, spin: float = 0.0) -> Sequence[End]:
        """The ends that have something to read, or whose other end is closed; none of them after so many seconds.

        It looks for `spin` seconds before it sleeps.
        """
        found = [end for end in self.ends.values() if end.rest]
        until = time.perf_counter() + spin if spin else 0.0
        while spin and not found and time.perf_counter() < until:
            found = self._look(0.0)
        return found or self._look(seconds)

    def _look(self, seconds: float | None) -> list[End]:
        if self._poll is None:
            return select.select(list(self.ends.values()), (), (), seconds)[0]
        return [self.ends[descriptor] for descriptor, _ in self._poll.poll(seconds and 1000 * seconds)]
