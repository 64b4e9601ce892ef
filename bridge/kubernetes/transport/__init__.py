"""The one seam to httpx and httpcore: connections, TLS, proxies, and the only place that reads a socket.

Nothing outside of this folder imports either of them, so that a later, faster reader has one place to be put.
"""

from bridge.kubernetes.transport.pool import FAILURES, Transport
from bridge.kubernetes.transport.reply import Reply, send

__all__ = ["FAILURES", "Reply", "Transport", "send"]
