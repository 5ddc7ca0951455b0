"""Whether a Dask scheduler is at an address, asked before a client is made.

`distributed.Client` waits without an end for a peer that takes the connection and says nothing, believes the length
that any other program's first bytes stand for, and half made cannot be closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import Future
from typing import Any

from iclglass.numerics.errors import OutputError

__all__ = ["CONNECT_SECONDS", "check_scheduler", "no_scheduler"]

CONNECT_SECONDS = 5.0
"""Time for a scheduler to answer: with the imports, an absent one is reported within ten seconds."""
_GRACE_SECONDS = 0.5
"""A refused connection is tried again for all of the time: it is given up before a silent one is."""
_STRANGER = "what answers there is no scheduler"


def check_scheduler(address: str) -> None:
    """OutputError unless a Dask scheduler answers at the address; it takes seconds, whatever is there."""
    reason: Future[str] = Future()
    # A thread that nobody waits for: not even a name server that is silent keeps this process alive.
    threading.Thread(target=lambda: reason.set_result(_ask(address)), daemon=True).start()
    try:
        found = reason.result(timeout=CONNECT_SECONDS + 2 * _GRACE_SECONDS)
    except TimeoutError:
        found = "no answer"
    if found:
        raise no_scheduler(address, found)


def no_scheduler(address: str | None, reason: str) -> OutputError:
    """The refusal of an address."""
    return OutputError(
        f"no Dask scheduler answers at {address} within {CONNECT_SECONDS:g} s ({reason}): start one with "
        "'dask scheduler', or check the address, which has the form tcp://HOST:PORT"
    )


def _ask(address: str) -> str:
    """What is wrong, in a few words; nothing where a scheduler answers."""
    import dask
    import distributed
    from distributed.comm import get_address_host_port, parse_address
    from distributed.utils import silence_logging_cmgr

    if dask.config.get("distributed.client.security-loader", None):
        return ""  # credentials that only the client knows how to get
    try:
        scheme, _ = parse_address(address)
        credentials = distributed.Security().get_connection_args("client")
        if scheme == "tls" and credentials.get("ssl_context") is None:
            return "tls:// needs the certificates named in Dask's configuration"
        if scheme != "inproc":
            socket.getaddrinfo(*get_address_host_port(address))
    except socket.gaierror as error:
        return f"the host is not found: {error.strerror}"
    except Exception as error:
        return str(error)
    # Dask would log, line by line, how the bytes of another program fail to be a message.
    with silence_logging_cmgr(logging.CRITICAL + 1):
        try:
            found = asyncio.run(_identity(distributed, address, credentials))
        except TimeoutError:
            return "what is there takes the connection and does not answer"
        except OSError:
            return "no connection"
        except Exception:  # MemoryError of a length that is none, struct.error, ...
            return _STRANGER
    return "" if isinstance(found, dict) and "workers" in found else _STRANGER


async def _identity(distributed: Any, address: str, credentials: dict[str, Any]) -> Any:
    async with (
        asyncio.timeout(CONNECT_SECONDS + _GRACE_SECONDS),
        distributed.rpc(address, timeout=CONNECT_SECONDS, connection_args=credentials) as peer,
    ):
        return await peer.identity()
