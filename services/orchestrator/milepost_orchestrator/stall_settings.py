"""How long operations may go without progress, by kind, from the environment."""

from collections.abc import Mapping

from milepost_runtime.errors import SettingsError

NAME = "MILEPOST_STALL_SECONDS"


def stall_settings(environment: Mapping[str, str]) -> dict[str, float]:
    """Read MILEPOST_STALL_SECONDS, such as ``backtest=60,training=3600,*=600``.

    Raises:
        SettingsError: it cannot be read so.
    """
    found: dict[str, float] = {}
    for part in environment.get(NAME, "").split(","):
        kind, _, seconds = part.strip().partition("=")
        if not part.strip():
            continue
        try:
            found[kind.strip()] = float(seconds)
        except ValueError as error:
            raise SettingsError(f"{NAME}: {part.strip()!r} is not such as backtest=60") from error
        if not kind.strip() or not found[kind.strip()] > 0:
            raise SettingsError(
                f"{NAME}: {part.strip()!r} is not such as backtest=60, with more than 0 seconds"
            )
    return found
