"""Into a daemon as if it were a cluster: by the monitors' addresses and a key, and nothing else."""

from __future__ import annotations

from cowshed.compat.addresses import MonAddress, parse_mon_host
from cowshed.compat.keyring import Key
from cowshed.errors import CowshedError, IOFailure
from cowshed.remote import RemoteStore, reach
from cowshed.remote.endpoint import TcpEndpoint, need_this_machine


def connect(mon_host: str, key: str | Key) -> RemoteStore:
    """The store behind the first of the addresses in `mon_host` where its daemon answers.

    The daemon is known by its certificate, whose fingerprint the key holds; not before that is seen does it
    hear the token. A key without a fingerprint is for a daemon on this machine that has no TLS. An address
    where nobody answers is passed over for the next one; a daemon that refuses the token is the end.

    Raises InvalidArgument, IOFailure where none answers or another answers, NotAuthenticated,
    UnsupportedTarget.
    """
    known = Key.parse(key) if isinstance(key, str) else key
    addresses = parse_mon_host(mon_host)
    failure: CowshedError | None = None
    for address in addresses:
        endpoint = endpoint_of(address, known)
        try:
            return reach(endpoint)
        except IOFailure as error:
            failure = failure or error
    assert failure is not None
    if len(addresses) == 1:
        raise failure
    raise IOFailure(
        f"none of {', '.join(map(str, addresses))} lets this client in; the first: {failure.message}",
        hint=failure.hint,
    )


def endpoint_of(address: MonAddress, key: Key) -> TcpEndpoint:
    """The endpoint that a key fits. Raises InvalidArgument for another machine without a fingerprint."""
    if key.fingerprint is None:
        need_this_machine(
            address.host, hint="the key is for a daemon without TLS; ask for one with a fingerprint"
        )
    return TcpEndpoint(
        target=f"cowshed://{address}",
        host=address.host,
        port=address.port,
        tls=key.fingerprint is not None,
        fingerprint=key.fingerprint,
        token=key.token,
    )
