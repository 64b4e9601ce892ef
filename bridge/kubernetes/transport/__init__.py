"""The one seam to the HTTP library: connections, TLS, proxies, and the only place that reads a socket.

Nothing outside of this folder imports httpcore or httpx, so that a later, faster reader has one place.
"""

from bridge.kubernetes.transport.exchange import FAILURES, Carrier, Request
from bridge.kubernetes.transport.pool import Transport
from bridge.kubernetes.transport.reply import Reply, send

__all__ = ["FAILURES", "Carrier", "Reply", "Request", "Transport", "send"]
