"""Kafka topics stream into Celonis tables, within the team's budget of pushes."""

from importlib.metadata import version

__version__ = version("kafka-celonis-connector")
