"""The programs' settings: nothing that moves by itself or tells the time, and file names in a list."""

from __future__ import annotations

_XFCONF = ".config/xfce4/xfconf/xfce-perchannel-xml"
_THUNAR = {
    "last-view": ("string", "ThunarDetailsView"), "last-statusbar-visible": ("bool", "false"),
    "last-side-pane": ("string", "THUNAR_SIDEPANE_TYPE_HIDDEN"),
    "misc-thumbnail-mode": ("string", "THUNAR_THUMBNAIL_MODE_NEVER"),
    "last-details-view-visible-columns": ("string", "THUNAR_COLUMN_NAME,THUNAR_COLUMN_SIZE"),
    "last-details-view-zoom-level": ("string", "THUNAR_ZOOM_LEVEL_38_PERCENT"),
}  # fmt: skip


def _channel(name: str, values: dict[str, tuple[str, str]]) -> str:
    lines = (f'<property name="{key}" type="{kind}" value="{value}"/>' for key, (kind, value) in values.items())
    return f'<?xml version="1.0"?>\n<channel name="{name}" version="1.0">{"".join(lines)}</channel>\n'


FILES = {f"{_XFCONF}/thunar.xml": _channel("thunar", _THUNAR)}
