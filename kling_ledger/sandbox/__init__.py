"""Four providers over real HTTP on loopback: a script is rehearsed and no money is spent.

A prompt's markers steer its own job, see kling_ledger.sandbox.markers; a seed draws markers for
jobs without, see kling_ledger.sandbox.scripts. What was really accepted and charged is told at
/sandbox/truth.

The sandbox is a witness: what a body must look like, what it costs and how a callback is signed it
has from its own reading of the sources, and from nothing else in this project. Where it disagrees
with a quote, one of the two has misread a source.
"""

from kling_ledger.sandbox.registry import PROVIDERS
from kling_ledger.sandbox.scripts import job_seed, script
from kling_ledger.sandbox.server import Sandbox, serve
from kling_ledger.sandbox.settings import SandboxSettings

__all__ = ["PROVIDERS", "Sandbox", "SandboxSettings", "job_seed", "script", "serve"]
