"""Things kept in order, so that a page of them costs what it shows and not a sort of everything."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Place = tuple[float, str]
"""When something was made, and its id."""


class Shelf(Generic[T]):
    """Items by place, lowest first."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._items: dict[Place, T] = {}

    def add(self, place: Place, item: T) -> None:
        """Put an item where it belongs, which is mostly the end."""
        insort(self._places, place)
        self._items[place] = item

    def remove(self, place: Place) -> None:
        """Take an item away."""
        del self._items[place]
        del self._places[bisect_left(self._places, place)]

    def after(self, place: Place | None) -> Iterator[T]:
        """The items behind a place, one by one; all of them without one."""
        start = 0 if place is None else bisect_right(self._places, place)
        for at in range(start, len(self._places)):
            yield self._items[self._places[at]]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        return self.after(None)


class Names(dict[str, T], Generic[T]):
    """A mapping by name that also knows its names in order."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] = []

    def __setitem__(self, name: str, item: T) -> None:
        if name not in self:
            insort(self._order, name)
        super().__setitem__(name, item)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        del self._order[bisect_left(self._order, name)]

    def take(self, name: str) -> T | None:
        """Remove and return an item; None when there is none of that name."""
        found = self.get(name)
        if found is not None:
            del self[name]
        return found

    def clear(self) -> None:
        super().clear()
        self._order.clear()

    def page(self, *, prefix: str = "", after: str = "", first: str = "") -> Iterator[str]:
        """The names with a prefix, behind ``after`` or from ``first`` on, in order and one by one."""
        start = max(bisect_left(self._order, max(prefix, first)), bisect_right(self._order, after) if after else 0)
        for at in range(start, len(self._order)):
            name = self._order[at]
            if not name.startswith(prefix):
                return
            yield name
