"""`python -m connector.demo`: the demo's story, told to brokers of your own."""

import sys

import click

from connector.demo.producer import produce
from connector.errors import ConnectorError

try:
    produce(prog_name="python -m connector.demo")
except ConnectorError as e:
    click.echo(f"demo: {e}", err=True)
    sys.exit(2)
