"""The configuration: YAML text -> frozen dataclasses, all errors at once with line and nearest key."""

from bridge.config.delivery import (
    BatchConfig,
    NamedRateLimitConfig,
    RateLimitConfig,
    RetryConfig,
    SinkConfig,
)
from bridge.config.loader import load, load_state_path, loads, schema
from bridge.config.model import (
    ClusterConfig,
    Config,
    HttpConfig,
    Listen,
    MemoryConfig,
    RedactionConfig,
    StateConfig,
    StreamConfig,
)
from bridge.config.places import made_by_run
from bridge.config.problems import ConfigError, Problem
from bridge.config.words import ChangeType
from bridge.secret import Secret, SecretError

__all__ = [
    "BatchConfig",
    "ChangeType",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "HttpConfig",
    "Listen",
    "MemoryConfig",
    "NamedRateLimitConfig",
    "Problem",
    "RateLimitConfig",
    "RedactionConfig",
    "RetryConfig",
    "Secret",
    "SecretError",
    "SinkConfig",
    "StateConfig",
    "StreamConfig",
    "load",
    "load_state_path",
    "loads",
    "made_by_run",
    "schema",
]
