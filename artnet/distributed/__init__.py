"""The processes that train one run together: their environment, device, share of the host, and group.

Nothing is imported here, so that `world` needs no torch.
"""
