"""Principals and API keys over REST."""
