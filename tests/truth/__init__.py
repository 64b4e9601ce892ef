"""The truth harness: real parts, a loader, a bridge that is killed, and etcd's history as judge."""
