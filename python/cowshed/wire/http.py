"""The names that both ends of a connection must spell alike."""

from __future__ import annotations

PROTOCOL = 1
"""Of requests and answers. Two ends with different numbers do not talk to each other."""
API = "/v1"
"""In front of the path of every operation."""
SOCKET_NAME = "daemon.sock"
"""The control socket of the daemon that serves a store, in the store's directory."""

PROTOCOL_HEADER = "Cowshed-Protocol"
"""In every answer, and in a client's requests: PROTOCOL."""
RUN_HEADER = "Cowshed-Run"
"""Of every answer: `DaemonInfo.run`, by which a client notices that another daemon answers than before."""
CLIENT_HEADER = "Cowshed-Client"
"""Who asks, `client.` and a number: the holder of locks and of open images."""
ADDRESS_HEADER = "Cowshed-Address"
"""Where the one who asks is, for people: `host:0/pid`."""
CLIENT_PATTERN = r"^client\.[0-9]{1,20}$"
TEXT_PATTERN = r"^[ -~]{1,255}$"
"""Of addresses and of idempotency keys."""
IDEMPOTENCY_HEADER = "Idempotency-Key"
"""With a change: a text that no other request of this client has. The same request sent again gets the same
answer, and is not done twice.
"""
PREFER_HEADER = "Prefer"
RESPOND_ASYNC = "respond-async"
"""As a preference: answer 202 at once, with the task's path in `Location`."""
ATTENDED = "attended"
"""As a further preference: someone follows the task closely. It goes on past what it reports only when that
has been seen (`?seen=`), so that whoever follows can stop it there, as a caller in the same process could.
"""
EVENT_HEADER = "Last-Event-ID"

HANDLE_EXPORTS = ".handle/"
"""Before a handle's token: the name of its NBD export."""
