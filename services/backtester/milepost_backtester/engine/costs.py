"""What a fill costs: spread, slippage, commission."""

import numpy as np

from milepost_backtester.engine.compiled import compiled
from milepost_backtester.engine.layouts import Table

_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xBF58476D1CE4E5B9)
_THIRD = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_UNIT = 2.0**-53


@compiled
def _mixed(value: np.uint64) -> np.uint64:
    """Splitmix64's output function (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> _S30)) * _SECOND
    value = (value ^ (value >> _S27)) * _THIRD
    return value ^ (value >> _S31)


@compiled
def random_share(seed: int, bar: int, order_id: int) -> float:
    """Return a number from 0 to below 1 that depends on nothing but these three."""
    value = _mixed(np.uint64(seed) + _FIRST)
    value = _mixed(value + np.uint64(bar) * _FIRST)
    value = _mixed(value + np.uint64(order_id) * _FIRST)
    return float(value >> _S11) * _UNIT


@compiled
def taken_price(price: float, quantity: float, bar: int, order_id: int, rules: Table) -> float:
    """Return what an order pays that takes the market at ``price``: worse by half the spread and the slippage."""
    rule = rules[0]
    worse = rule.spread * 0.5 + rule.slippage_fixed + price * rule.slippage_rate
    if rule.slippage_random_rate > 0:
        share = random_share(rule.slippage_seed, bar, order_id)
        worse += price * (rule.slippage_random_rate * share)
    return price + worse if quantity > 0 else max(0.0, price - worse)


@compiled
def commission_of(quantity: float, price: float, rules: Table) -> float:
    """Return the commission of a fill: fixed + per unit + share of the value, at least the minimum."""
    rule = rules[0]
    units = abs(quantity)
    amount = rule.commission_fixed + rule.commission_per_unit * units + units * price * rule.commission_rate
    return max(amount, rule.commission_minimum)
