"""Replacements for portable functions, one file per library: see `xlenet.backend.seam`.

Nothing here is ever the only way to compute something, and nothing but the seam imports it.
"""

__all__: list[str] = []
