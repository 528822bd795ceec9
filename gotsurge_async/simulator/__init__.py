"""A local GotSurge over real HTTP: for a first try, for tests and for load, without credentials.

It shares neither models nor codec with the client: a mistake there must not cancel itself out here.
"""

from gotsurge_async.simulator.faults import Fault
from gotsurge_async.simulator.options import SWITCHES, SimulatorOptions, Switch
from gotsurge_async.simulator.server import Simulator, serve
from gotsurge_async.simulator.state.accounts import Account
from gotsurge_async.simulator.state.life import Life

__all__ = ["SWITCHES", "Account", "Fault", "Life", "Simulator", "SimulatorOptions", "Switch", "serve"]
