"""Acquisition: what an entry's sources have, fetched, verified, unpacked and laid out as one tree.

    part (or its mirrors) -> gate -> listing of the host -> lock -> obtained files -> unpacked pieces -> tree

Hosts are in `medshard.registry.hosts`; the rooms here are `transfer` (bytes over a network), `archives` (bytes out of
archives) and `gates` (what only a person can do).
"""
