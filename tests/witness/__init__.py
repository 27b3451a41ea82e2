"""The witness: the four gateways told a second time, from what they publish and from nothing else.

Nothing in here may import the product, and nothing was written by looking at it: what the product,
its sandbox and its tests all misread in the same way, this is the place that does not.
"""
