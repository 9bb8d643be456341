"""The data plane: frames between event loops over ZeroMQ, encrypted and admitted by CURVE keys."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address

import zmq
import zmq.utils.z85

from .frames import MAX_FRAME

MAX_WAITING = 1000
"""Frames that may wait on each side of one connection, unless told otherwise; then `send` refuses."""

MAX_BATCH = 1000
"""Frames one `collect` returns at most, so that a fast sender cannot keep the caller inside it."""

HANDSHAKE_MS = 500
"""Time for a handshake; a client refused at the door tries again after it."""

Address = tuple[str, str]
"""Endpoint and CURVE public key (Z85 text) of a wire: plain values, fit to travel through Ray."""

_CURVE_OVERHEAD = 64  # an encrypted frame is 33 bytes longer; MAXMSGSIZE counts the encrypted one
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_SELECT_LIMIT = 1024  # FD_SETSIZE: select() cannot wait on higher descriptors


class ZmqWire:
    """One event loop's end of the data plane: receives from all peers on one socket, sends to each over a socket of its own.

    Frames of one sender arrive in the order sent; there is no order across senders. A frame is lost when its peer dies or is
    replaced. All methods but `wake` and `close` belong to one thread, and `close` to that thread or to one that knows it has ended.
    `host` is the IP address to listen on and to be reached at; a wildcard is a ValueError, for peers could not connect to it. `waiting` frames may wait on
    each side of a connection.
    """

    def __init__(self, host: str = "127.0.0.1", waiting: int = MAX_WAITING) -> None:
        address = ip_address(host)
        if address.is_unspecified:
            raise ValueError(f"{host} is no address that peers can connect to")
        self.refused, self._waiting = 0, waiting
        self._peers: dict[str, tuple[Address, zmq.Socket[bytes]]] = {}
        self._admitted: frozenset[bytes] = frozenset()
        self._woken = False
        self._lock = threading.Lock()
        self._closed = False
        server_public, server_secret = zmq.curve_keypair()
        client_public, self._client_secret = zmq.curve_keypair()
        self.client_key: str = client_public.decode("ascii")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        # The doorkeeper is bound before the socket it guards: without one, ZeroMQ would admit everybody.
        door = self._context.socket(zmq.REP)
        door.bind(_ZAP_ENDPOINT)
        self._doorkeeper = threading.Thread(target=self._keep_door, args=(door,), name="wire-door", daemon=True)
        self._doorkeeper.start()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._inbox = self._context.socket(zmq.PULL)
        try:
            _limit(self._inbox, waiting)
            self._inbox.ipv6 = address.version == 6
            self._inbox.curve_server = True
            self._inbox.curve_secretkey = server_secret
            self._inbox.curve_publickey = server_public
            self._inbox.zap_domain = b"asyncnet"
            self._inbox.zap_enforce_domain = True
            self._inbox.handshake_ivl = HANDSHAKE_MS
            self._inbox.bind(f"tcp://[{host}]:*" if address.version == 6 else f"tcp://{host}:*")
            self._ready_fd: int = self._inbox.get(zmq.FD)
            self._inbox_only = [(self._inbox, zmq.POLLIN)]
            self._sleeper = select.poll()
            self._sleeper.register(self._ready_fd, select.POLLIN)
            self._sleeper.register(self._wake_read, select.POLLIN)
            self.address: Address = (self._inbox.get(zmq.LAST_ENDPOINT).rstrip(b"\0").decode("ascii"), server_public.decode("ascii"))
        except BaseException:
            self.close()
            raise

    def connect(self, peers: Mapping[str, Address], admitted: Iterable[str]) -> None:
        """Make `peers` the ones frames go to and `admitted` the client keys that may send here.

        Both ends may do this in any order: what is sent before the other end has admitted this one's key waits and is not lost, but
        may wait for `HANDSHAKE_MS`. To start without that wait, first admit everywhere with no peers, then connect everywhere.
        May be called again: peers with the same address keep their connection and what waits in it, others are dropped or added. A
        key no longer admitted is refused at its next connection, not cut off. Never waits for a peer. ValueError: a malformed key.
        """
        self._admitted = frozenset(_raw_key(key) for key in admitted)
        for name, (address, socket) in list(self._peers.items()):
            if peers.get(name) is None or tuple(peers[name]) != address:
                socket.close(linger=0)
                del self._peers[name]
        for name, (endpoint, server_key) in peers.items():
            if name in self._peers:
                continue
            _raw_key(server_key)
            socket = self._context.socket(zmq.PUSH)
            try:
                _limit(socket, self._waiting)
                socket.ipv6 = "[" in endpoint
                socket.reconnect_ivl = 20
                socket.reconnect_ivl_max = 500
                socket.curve_serverkey = server_key.encode("ascii")
                socket.curve_publickey = self.client_key.encode("ascii")
                socket.curve_secretkey = self._client_secret
                socket.connect(endpoint)
            except BaseException:
                socket.close(linger=0)
                raise
            self._peers[name] = ((endpoint, server_key), socket)

    def send(self, peer: str, frame: bytes) -> bool:
        """Hand a frame to the peer's queue and return True, or count it in `refused` and return False if the queue is full.

        Never blocks. KeyError: no such peer. ValueError: the frame is longer than `MAX_FRAME`.
        """
        if len(frame) > MAX_FRAME:
            raise ValueError(f"a frame of {len(frame)} bytes exceeds {MAX_FRAME}")
        try:
            self._peers[peer][1].send(frame, zmq.DONTWAIT)
        except zmq.Again:
            self.refused += 1
            return False
        return True

    def collect(self, timeout: int | None) -> list[bytes]:
        """Return the frames that have come, at most `MAX_BATCH` and in order per sender.

        Waits for the first at most `timeout` microseconds; 0 does not wait, None waits for a frame or `wake`. The list is empty when
        the time is over or `wake` was called.
        """
        frames = self._drain()
        if frames or timeout == 0:
            return frames
        began, left = time.monotonic_ns(), timeout
        while not (self._woken and self._take_wake()):
            # The descriptor signals changes only, and looking at the socket swallows the signal: never sleep on an unread frame.
            self._sleep(left)
            if frames := self._drain():
                break
            if timeout is not None:
                left = timeout - (time.monotonic_ns() - began) // 1000
                if left <= 0:
                    break
        return frames

    def wake(self) -> None:
        """Make the present or the next waiting `collect` return; from any thread, at any time, even after `close`."""
        with self._lock:
            if not self._woken and not self._closed:
                self._woken = True
                os.write(self._wake_write, b"\0")

    def close(self) -> None:
        """Drop what waits, close all sockets and descriptors; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
        for _, socket in self._peers.values():
            socket.close(linger=0)
        self._peers.clear()
        self._inbox.close(linger=0)
        # Ends the doorkeeper's wait; returns when its socket, the last one, is closed.
        self._context.term()
        self._doorkeeper.join()

    def _drain(self) -> list[bytes]:
        # Asking first is cheaper than the exception of an empty socket.
        frames: list[bytes] = []
        while len(frames) < MAX_BATCH and zmq.zmq_poll(self._inbox_only, 0):
            frames.append(self._inbox.recv(zmq.DONTWAIT))
        return frames

    def _take_wake(self) -> bool:
        with self._lock:
            os.read(self._wake_read, 1)
            self._woken = False
        return True

    def _sleep(self, left: int | None) -> None:
        """Wait for a change of the inbox or a wake, at most `left` microseconds; poll() has milliseconds only, select() no high descriptors."""
        if left is None or left >= 1000 or max(self._ready_fd, self._wake_read) >= _SELECT_LIMIT:
            self._sleeper.poll(None if left is None else max(1, left // 1000))
        else:
            select.select((self._ready_fd, self._wake_read), (), (), left / 1e6)

    def _keep_door(self, door: zmq.Socket[bytes]) -> None:
        """Answer the requests of ZeroMQ's handshakes (RFC 27) until the context ends: a client key is admitted or it is not."""
        # 300 leaves the client unanswered until the handshake times out, and then it tries again; after a 400 ZeroMQ gives up for
        # good, which would strand a peer that connects a moment before its key is admitted.
        with suppress(zmq.ContextTerminated):
            while True:
                version, request, _domain, _address, _identity, mechanism, *credentials = door.recv_multipart()
                known = mechanism == b"CURVE" and len(credentials) == 1 and credentials[0] in self._admitted
                verdict = (b"200", b"OK") if known else (b"300", b"not admitted")
                door.send_multipart((version, request, *verdict, b"", b""))
        door.close(linger=0)


def _limit(socket: zmq.Socket[bytes], waiting: int) -> None:
    """Set what both directions have in common."""
    socket.linger = 0
    socket.sndhwm = waiting
    socket.rcvhwm = waiting
    socket.maxmsgsize = MAX_FRAME + _CURVE_OVERHEAD


def _raw_key(key: str) -> bytes:
    """Return the 32 bytes of a Z85 key."""
    if len(key) != 40:
        raise ValueError("a CURVE key has 40 characters")
    return zmq.utils.z85.decode(key)
