"""Real Kubernetes parts for the tests: built from Go modules, run on loopback, judged by etcd's history."""
