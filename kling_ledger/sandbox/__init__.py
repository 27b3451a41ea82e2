"""Four providers over real HTTP on loopback: a script is rehearsed and no money is spent.

A prompt's markers steer its own job, see kling_ledger.sandbox.markers; a seed draws markers for
jobs without, see kling_ledger.sandbox.scripts. What was really accepted and charged is told at
/sandbox/truth.
"""

from kling_ledger.sandbox.scripts import job_seed, script
from kling_ledger.sandbox.server import Sandbox, serve
from kling_ledger.sandbox.settings import PROVIDERS, SandboxSettings

__all__ = ["PROVIDERS", "Sandbox", "SandboxSettings", "job_seed", "script", "serve"]
