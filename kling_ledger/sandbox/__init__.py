"""Four providers over real HTTP on loopback, to rehearse a script without spending money.

A prompt's markers steer its own job (see kling_ledger.sandbox.markers); a seed draws markers for
jobs that have none (see kling_ledger.sandbox.scripts). /sandbox/truth shows what was really
accepted and charged.

The sandbox is an independent witness: what a body must look like, what it costs and how a callback
is signed come from its own reading of the sources, and from nothing else in this project. If it
disagrees with a quote, one of the two has misread a source.
"""

from kling_ledger.sandbox.registry import PROVIDERS
from kling_ledger.sandbox.scripts import job_seed, script
from kling_ledger.sandbox.server import Sandbox, serve
from kling_ledger.sandbox.settings import SandboxSettings

__all__ = ["PROVIDERS", "Sandbox", "SandboxSettings", "job_seed", "script", "serve"]
