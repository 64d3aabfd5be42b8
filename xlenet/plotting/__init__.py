"""Pictures of a training run as PNG files: curves, confusion matrix, filters, what each layer makes of an image,
mistakes, contact sheet.

Matplotlib is loaded when the first picture is drawn, not before. No global state of it is touched (no `pyplot`, no
window, no change of settings), so the functions need no display and may be called from several threads. Equal input
gives equal bytes.
"""

from __future__ import annotations

from .comparison import plot_comparison
from .confusion import plot_confusion
from .curves import plot_curves
from .digits import plot_digits
from .features import plot_features
from .filters import plot_filters
from .mistakes import plot_mistakes

__all__ = [
    "plot_comparison",
    "plot_confusion",
    "plot_curves",
    "plot_digits",
    "plot_features",
    "plot_filters",
    "plot_mistakes",
]
