"""Numbers as people read them."""

MINUS = "\N{MINUS SIGN}"
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


def percent(share: float, digits: int = 2) -> str:
    """Return ``12.34 %``."""
    return f"{decimal(share * 100, digits)}{NARROW_SPACE}%"


def decimal(value: float, digits: int = 2) -> str:
    """Return a number with thousands apart and a real minus; scientific where digits would run away."""
    if abs(value) >= 1e15:
        return f"{value:.4e}".replace("-", MINUS)
    text = f"{value:,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text[0] == "-" else text).replace("-", MINUS)


def whole(value: float) -> str:
    """Return a number without decimals."""
    return decimal(value, 0)


def ratio(value: float) -> str:
    """Return a number without a unit."""
    return decimal(value, 3)


def money(value: float) -> str:
    """Return an amount; more decimals where it is small."""
    return decimal(value, 2 if abs(value) >= 1 or value == 0 else 6)


def duration(seconds: float) -> str:
    """Return a time in its largest fitting unit."""
    for name, size in (("years", 365.25 * 86_400), ("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= (2 if name == "years" else 1) * size:
            return f"{decimal(seconds / size, 1)} {name}"
    return f"{decimal(seconds, 0)} seconds"


def axis_label(value: float) -> str:
    """Return a value of an axis, short: 10.05 M, 250 k, 0.35."""
    for letter, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.10g}{NARROW_SPACE}{letter}".replace("-", MINUS)
    return f"{value:,.10g}".replace("-", MINUS)
