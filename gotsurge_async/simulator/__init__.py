"""A local GotSurge over real HTTP: for a first try, for tests and for load, without credentials.

It shares neither models nor codec with the client: a mistake there must not cancel itself out here.
"""

from .accounts import Account
from .faults import Fault
from .options import SWITCHES, SimulatorOptions, Switch
from .server import Simulator, serve

__all__ = ["SWITCHES", "Account", "Fault", "Simulator", "SimulatorOptions", "Switch", "serve"]
