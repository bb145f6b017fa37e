"""`python -m connector.emulator`: the emulator as a process of its own."""

import sys

import click

from connector.emulator.command import emulator
from connector.errors import ConnectorError

try:
    emulator(prog_name="python -m connector.emulator")
except ConnectorError as e:
    click.echo(f"emulator: {e}", err=True)
    sys.exit(2)
