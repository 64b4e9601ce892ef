"""Webhooks: signed HTTP requests to any receiver."""
