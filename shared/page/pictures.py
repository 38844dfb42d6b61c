"""Pictures that the server draws, as SVG: without style, so that they are read in light and dark, and each says in words what is
in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, collapse_addresses

from markupsafe import Markup

from shared.page.texts import Texts

_WIDTH = 720
_MOST_ROWS = 40
_MOST_SAID = 20
"""Ranges of a row that are told in words. All of them stand in the table beside the picture."""
_LEAST = 3.0
"""Of a range so narrow that it would not be seen."""


def address_space(t: Texts, accounts: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    """Whose ranges lie where: a lane for each account, over the smallest network that holds all of them. Empty without ranges.

    Names stand beside the lanes as text, so that they are read at any width; a lane is as wide as there is room.
    """
    rows = [(name, _networks(prefixes)) for name, prefixes in accounts[:_MOST_ROWS]]
    rows = [(name, networks) for name, networks in rows if networks]
    if not rows:
        return Markup("")
    whole = _around([network for _, networks in rows for network in networks])
    left_out = len(accounts) - _MOST_ROWS
    return Markup(
        '<figure class="space"><figcaption>{caption}{more}</figcaption>'
        "<p><span>{first}</span><span>{last}</span></p><ul>{rows}</ul></figure>"
    ).format(
        caption=t("Whose ranges lie where, within {whole}", whole=whole),
        first=whole.network_address,
        last=whole.broadcast_address,
        rows=Markup("").join(_row(t, name, networks, whole) for name, networks in rows),
        more=Markup("; {}").format(t.count(left_out, "1 account is left out", "{n} accounts are left out"))
        if left_out > 0
        else "",
    )


def size_bar(size: int | None, largest: int) -> Markup:
    """How large a range is beside the largest: each step of the bar is twice as many addresses."""
    if size is None or largest <= 0:
        return Markup("")
    share = max(1.0, size.bit_length()) / max(1, largest.bit_length())
    return Markup(
        '<svg class="meter" viewBox="0 0 100 10" aria-hidden="true"><rect class="part" width="{}" height="10"/></svg>'
    ).format(f"{100 * share:.0f}")


def _row(t: Texts, name: str, networks: Sequence[IPv4Network], whole: IPv4Network) -> Markup:
    size = sum(one.num_addresses for one in networks)
    said = ", ".join(map(str, networks[:_MOST_SAID]))
    if len(networks) > _MOST_SAID:
        said = t("{said} and {n} more", said=said, n=len(networks) - _MOST_SAID)
    return Markup(
        '<li><bdi>{name}</bdi> <small>{size}</small><svg class="lane" viewBox="0 0 {width} 1" preserveAspectRatio="none" '
        'role="img" aria-label="{name}: {said}">{parts}</svg></li>'
    ).format(
        name=name,
        size=t.count(size, "1 address", "{n:,} addresses"),
        width=_WIDTH,
        said=said,
        parts=Markup("").join(_part(one, whole) for one in networks),
    )


def _part(network: IPv4Network, whole: IPv4Network) -> Markup:
    width = max(_LEAST, network.num_addresses / whole.num_addresses * _WIDTH)
    left = (int(network.network_address) - int(whole.network_address)) / whole.num_addresses * _WIDTH
    return Markup('<rect class="part" x="{}" width="{}" height="1"><title>{}</title></rect>').format(
        f"{min(left, _WIDTH - width):.1f}", f"{width:.1f}", network
    )


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
