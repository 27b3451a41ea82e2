"""The providers over real HTTP on loopback: a script is rehearsed and no money is spent.

A prompt's markers steer its own job; see kling_ledger.sandbox.markers.
"""

from kling_ledger.sandbox.server import Sandbox, serve
from kling_ledger.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings", "serve"]
