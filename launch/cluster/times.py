"""SLURM's format of times: `DAYS-HH:MM:SS`, `HH:MM:SS` or `MM:SS`. Pure."""

import re

_TIME = re.compile(r"(?:(\d{1,5})-)?(?:(\d{1,6}):)?(\d{1,6}):(\d\d)")


def read_seconds(text: str) -> int | None:
    """The time in seconds; None if the text is not a time, such as `UNLIMITED`."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def write_minutes(minutes: int) -> str:
    """Minutes as SLURM writes them: `8:00:00`, `1-12:00:00`."""
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02d}:{rest % 60:02d}:00" if days else f"{rest // 60}:{rest % 60:02d}:00"
