"""Hostile files, made from sound ones by changing what they say about themselves; and what may come of loading them.

Each module here is a kind of file with two functions. ``make(rng)`` returns the bytes of one, and whether nothing was
changed in it. ``check(path, data, sound)`` loads what it has put at `path` and returns in a word what came of it; an
exception is a finding.
"""
