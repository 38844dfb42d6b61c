"""Pictures that the server draws, as SVG: without style, so that they are read in light and dark, and each says in words what is
in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, collapse_addresses

from markupsafe import Markup

from shared.page.texts import Texts

_WIDTH, _ROW, _LEFT, _TOP = 720, 26, 4, 18
_MOST_ROWS = 40
_LEAST = 2.0
"""Of a range so narrow that it would not be seen."""


def address_space(t: Texts, accounts: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    """Whose ranges lie where: a row for each account, over the smallest network that holds all of them. Empty without ranges."""
    rows = [(name, _networks(prefixes)) for name, prefixes in accounts[:_MOST_ROWS]]
    rows = [(name, networks) for name, networks in rows if networks]
    if not rows:
        return Markup("")
    whole = _around([network for _, networks in rows for network in networks])
    height = _TOP + len(rows) * 2 * _ROW
    drawn = [_row(number, name, networks, whole) for number, (name, networks) in enumerate(rows)]
    said = "; ".join(f"{name}: {', '.join(map(str, networks))}" for name, networks in rows)
    left_out = len(accounts) - len(rows)
    more = t.count(left_out, "1 account is left out", "{n} accounts are left out") if left_out > 0 else Markup("")
    return Markup(
        '<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        '<text x="{left}" y="12">{whole}</text>{rows}</svg>{more}'
    ).format(
        width=_WIDTH + 2 * _LEFT,
        height=height,
        label=t("Address ranges within {whole}: {said}", whole=whole, said=said),
        left=_LEFT,
        whole=whole,
        rows=Markup("").join(drawn),
        more=Markup("<p>{}</p>").format(more) if more else Markup(""),
    )


def size_bar(size: int | None, largest: int) -> Markup:
    """How large a range is beside the largest: each step of the bar is twice as many addresses."""
    if size is None or largest <= 0:
        return Markup("")
    share = max(1.0, size.bit_length()) / max(1, largest.bit_length())
    return Markup(
        '<svg class="meter" viewBox="0 0 100 10" aria-hidden="true"><rect class="part" width="{}" height="10"/></svg>'
    ).format(f"{100 * share:.0f}")


def _row(number: int, name: str, networks: Sequence[IPv4Network], whole: IPv4Network) -> Markup:
    top = _TOP + number * 2 * _ROW
    parts = [
        Markup('<rect class="part" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            f"{_LEFT + (int(one.network_address) - int(whole.network_address)) / whole.num_addresses * _WIDTH:.1f}",
            top + _ROW - 6,
            f"{max(_LEAST, one.num_addresses / whole.num_addresses * _WIDTH):.1f}",
            _ROW - 8,
            one,
        )
        for one in networks
    ]
    line = Markup('<rect class="axis" x="{}" y="{}" width="{}" height="{}"/>').format(
        _LEFT, top + _ROW - 6, _WIDTH, _ROW - 8
    )
    label = Markup('<text x="{}" y="{}">{}</text>').format(_LEFT, top + _ROW - 10, name)
    return Markup("<g>{}{}{}</g>").format(label, line, Markup("").join(parts))


def _networks(prefixes: Sequence[str]) -> list[IPv4Network]:
    found = []
    for prefix in dict.fromkeys(prefixes):
        try:
            found.append(IPv4Network(prefix))
        except ValueError:
            continue
    return list(collapse_addresses(found))


def _around(networks: Sequence[IPv4Network]) -> IPv4Network:
    first = min(int(one.network_address) for one in networks)
    last = max(int(one.broadcast_address) for one in networks)
    length = 32 - (first ^ last).bit_length()
    return IPv4Network((first >> (32 - length) << (32 - length) if length else 0, length))
