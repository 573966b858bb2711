"""Resource quantities: ``100m`` of a CPU, ``1Gi`` of memory (upstream's ``api/resource``).

A quantity is an exact number with at least nano precision and the suffix family it was written in. Its canonical form has no
fraction and the largest suffix that loses nothing. Text that upstream's fast path accepts as already canonical is kept as it
was written (``1.234`` stays), because objects would differ from upstream's otherwise.

Schedulers and controllers count in plain ints: ``milli`` for CPU, ``value`` for everything else, both cached.
"""

import re
from functools import lru_cache, total_ordering

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_SUFFIX = {v: k for k, v in _DECIMAL.items()}
_BINARY_SUFFIX = {0: "", **{v: k for k, v in _BINARY.items()}}

_PATTERN = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?\d+)", re.ASCII)
_NANO = -9
_MAX_BINARY = (1 << 63) - 1
# Exact arithmetic on 10**exponent: beyond this a number is an attack, not a resource.
_MAX_EXPONENT = 1000

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SUFFIX_WRONG = "unable to parse quantity's suffix"

DECIMAL_SI = "DecimalSI"
BINARY_SI = "BinarySI"
DECIMAL_EXPONENT = "DecimalExponent"


@total_ordering
class Quantity:
    """``unscaled * 10**scale``. Immutable; compares by amount, whatever the suffix."""

    __slots__ = ("_text", "format", "scale", "unscaled")

    def __init__(self, unscaled: int, scale: int = 0, format: str = DECIMAL_SI, text: str = "") -> None:
        self.unscaled = unscaled
        self.scale = scale
        self.format = format
        self._text = text

    def _nanos(self) -> int:
        return self.unscaled * 10 ** (self.scale - _NANO)

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero, as upstream counts bytes and pods."""
        return _divide(self._nanos(), 10**9)

    @property
    def milli_value(self) -> int:
        return _divide(self._nanos(), 10**6)

    @property
    def sign(self) -> int:
        return (self.unscaled > 0) - (self.unscaled < 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self._nanos() == other._nanos()

    def __lt__(self, other: "Quantity") -> bool:
        return self._nanos() < other._nanos()

    def __hash__(self) -> int:
        return hash(self._nanos())

    def __add__(self, other: "Quantity") -> "Quantity":
        return self._combine(other, 1)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return self._combine(other, -1)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.unscaled, self.scale, self.format)

    def _combine(self, other: "Quantity", sign: int) -> "Quantity":
        scale = min(self.scale, other.scale)
        total = self.unscaled * 10 ** (self.scale - scale) + sign * other.unscaled * 10 ** (other.scale - scale)
        # Like upstream, a sum that starts from nothing takes the format of what is added to it.
        return Quantity(total, scale, self.format if self.unscaled else other.format)

    def __str__(self) -> str:
        if not self._text:
            self._text = self._canonical()
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def _canonical(self) -> str:
        if not self.unscaled:
            return "0"
        if self.format == BINARY_SI:
            whole, rest = divmod(self._nanos(), 10**9)
            if not rest and not -1024 < whole < 1024:
                power = 0
                while power < 6 and whole % 1024 == 0:
                    whole //= 1024
                    power += 1
                return f"{whole}{_BINARY_SUFFIX[power]}"
        mantissa, exponent = self.unscaled, self.scale
        while mantissa % 10 == 0:
            mantissa //= 10
            exponent += 1
        mantissa *= 10 ** (exponent % 3)
        exponent -= exponent % 3
        if self.format == DECIMAL_EXPONENT or exponent not in _DECIMAL_SUFFIX:
            return f"{mantissa}e{exponent}" if exponent else str(mantissa)
        return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def parse(text: str) -> Quantity:
    """Raises ValueError with upstream's message."""
    match = _PATTERN.fullmatch(text)
    if not match or not text:
        raise ValueError(FORMAT_WRONG)
    sign, digits, fraction, suffix = match.groups()
    fraction = fraction or ""
    if not digits and not fraction and not text.strip("+-"):
        return Quantity(0)
    digits = digits.lstrip("0")
    base, exponent, format = _interpret(suffix)
    unscaled = int((digits or "0") + fraction)
    if sign == "-":
        unscaled = -unscaled
    if base == 2:
        return _binary(text, digits or "0", fraction, unscaled, exponent)
    scale = exponent - len(fraction)
    shifted = (digits or "0") + fraction
    as_written = (
        len(shifted) <= 18 and scale >= _NANO and scale % 3 == 0 and not shifted.endswith("000") and shifted[0] != "0"
    )
    if as_written:
        return Quantity(unscaled, scale, format, text)
    unscaled, scale = _at_least_nano(unscaled, scale)
    return Quantity(unscaled, scale, format)


def _interpret(suffix: str) -> tuple[int, int, str]:
    """base, exponent (of 10, or of 1024) and format of a suffix."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], DECIMAL_SI
    if suffix in _BINARY:
        return 2, _BINARY[suffix], BINARY_SI
    match = _EXPONENT.fullmatch(suffix)
    if not match or abs(exponent := int(match[1][:9])) > _MAX_EXPONENT:
        raise ValueError(_SUFFIX_WRONG)
    return 10, exponent, DECIMAL_EXPONENT


def _binary(text: str, digits: str, fraction: str, unscaled: int, power: int) -> Quantity:
    amount = unscaled * 1024**power
    if not fraction:
        precise = 15 - len(digits) - power * 3 - 1 >= 0
        if precise and int(digits) & 7:
            return Quantity(amount, 0, BINARY_SI, text)
        amount = max(min(amount, _MAX_BINARY), -_MAX_BINARY)
        return Quantity(amount, 0, BINARY_SI)
    amount, scale = _at_least_nano(amount, -len(fraction))
    if abs(amount) > _MAX_BINARY * 10**-scale:
        amount, scale = (_MAX_BINARY if amount > 0 else -_MAX_BINARY), 0
    small = 0 < abs(amount) < 10**-scale
    return Quantity(amount, scale, DECIMAL_SI if small else BINARY_SI)


def _at_least_nano(unscaled: int, scale: int) -> tuple[int, int]:
    """Nothing is finer than nano; what is asked for beyond that is rounded away from zero."""
    if scale >= _NANO:
        return unscaled, scale
    return _divide(unscaled, 10 ** (_NANO - scale)), _NANO


def _divide(amount: int, by: int) -> int:
    """Rounds away from zero: if one wants some of a resource, one should get some."""
    return -(-amount // by) if amount >= 0 else amount // by


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The text that upstream would store."""
    return str(parse(text.strip()))


@lru_cache(maxsize=4096)
def value(text: str | int | float) -> int:
    """Whole units (bytes, pods), rounded up."""
    return parse(str(text)).value


@lru_cache(maxsize=4096)
def milli(text: str | int | float) -> int:
    """Thousandths (of a CPU), rounded up."""
    return parse(str(text)).milli_value


def compare(a: str, b: str) -> int:
    """-1, 0 or 1."""
    x, y = parse(a), parse(b)
    return (x > y) - (x < y)


def from_milli(amount: int, format: str = DECIMAL_SI) -> str:
    return str(Quantity(amount, -3, format))


def from_value(amount: int, format: str = BINARY_SI) -> str:
    return str(Quantity(amount, 0, format))
