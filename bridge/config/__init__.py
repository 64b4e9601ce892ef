"""The configuration: YAML text -> frozen dataclasses, all errors at once with line and nearest key."""

from bridge.config.loader import load, loads, schema
from bridge.config.model import (
    ChangeType,
    ClusterConfig,
    Config,
    HttpConfig,
    Listen,
    MemoryConfig,
    RedactionConfig,
    RetryConfig,
    SinkConfig,
    StateConfig,
    StreamConfig,
)
from bridge.config.problems import ConfigError, Problem
from bridge.secret import Secret, SecretError

__all__ = [
    "ChangeType",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "HttpConfig",
    "Listen",
    "MemoryConfig",
    "Problem",
    "RedactionConfig",
    "RetryConfig",
    "Secret",
    "SecretError",
    "SinkConfig",
    "StateConfig",
    "StreamConfig",
    "load",
    "loads",
    "schema",
]
