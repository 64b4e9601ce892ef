"""Kafka: a compacted topic that equals the cluster, at least once or in transactions."""
