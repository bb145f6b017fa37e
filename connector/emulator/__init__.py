"""The Data Push API as a real HTTP server over an embedded database.

`server` starts it, `http` is the skin, `state` the state machine, `apply` what a load does to a table. What nothing
public says about the platform is decided in one place each and marked "ours" there.
"""

from connector.emulator.server import Emulator
from connector.emulator.settings import EmulatorSettings, Hints, OAuthClient

__all__ = ["Emulator", "EmulatorSettings", "Hints", "OAuthClient"]
