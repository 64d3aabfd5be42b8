"""Fonts for letters that Matplotlib's own font does not have: names of classes may be in any writing."""

from __future__ import annotations

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any

# What systems and people install for Chinese, Japanese and Korean; the first that has a letter draws it.
FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC",
    "PingFang HK", "Hiragino Sans GB", "Heiti TC", "STHeiti", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Arial Unicode MS",
)  # fmt: skip
_UNSHOWN = r"Glyph |Matplotlib currently does not support"


def add_fonts(figure: Any) -> None:
    """Let the texts of a figure that want it fall back on those fonts that this machine has."""
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
    there = {font.name for font in fontManager.ttflist} if texts else set()
    fallback = [name for name in FAMILIES if name in there]  # of others it would say that they are missing
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *fallback])


@contextlib.contextmanager
def unshown_letters() -> Iterator[None]:
    """Draw a box for a letter that no font has, and say nothing: whoever looks sees it, and a run goes on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _UNSHOWN, UserWarning)
        yield


def is_wide(letter: str) -> bool:
    r"""Return whether a letter is as wide as high, as those of Chinese are.

    Example:
        >>> is_wide("\N{CJK UNIFIED IDEOGRAPH-732B}"), is_wide("a")
        (True, False)
    """
    return unicodedata.east_asian_width(letter) in ("W", "F")
