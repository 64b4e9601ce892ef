"""kube-bridge: every change of Kubernetes resources, streamed, without ever losing a deletion."""

__version__ = "0.1.0"
