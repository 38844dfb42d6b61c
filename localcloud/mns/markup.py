"""XML in and out: requests are untrusted, so the parser refuses whatever a message never needs.

No document type (hence no entities of the sender's), UTF-8 only, bounded depth. Names are compared without their
namespace because clients declare three different ones (mns.md section 0, fact 1); answers declare the one that the
strictest client insists on.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from localcloud.mns.errors import refuse

NAMESPACE: Final = "http://mns.aliyuncs.com/doc/v1"
DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>'
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 8_192


class Element:
    """One element of a request: its local name, its own text and its children in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Element] = []

    def child(self, name: str) -> "Element | None":
        """The only child of that name; saying a thing twice is malformed."""
        found = None
        for element in self.children:
            if element.name == name:
                if found is not None:
                    raise refuse("MalformedXML", f"The element {name} appears more than once in {self.name}.")
                found = element
        return found

    def all(self, name: str) -> "Iterator[Element]":
        """The children of that name, in order."""
        return (element for element in self.children if element.name == name)

    def value(self, name: str) -> str | None:
        """The trimmed text of a child, or None when it is absent or empty: clients write unset values both ways."""
        element = self.child(name)
        return None if element is None else element.scalar().strip() or None

    def scalar(self) -> str:
        """The text of an element that may not have children."""
        if self.children:
            raise refuse("MalformedXML", f"The element {self.name} must contain text only.")
        return self.text


class _Reader:
    """Builds the elements while expat reads; ``tree`` holds a root that is no part of the document."""

    __slots__ = ("count", "innermost", "path", "tree")

    def __init__(self) -> None:
        self.tree = self.innermost = Element("")
        self.path: list[Element] = []
        self.count = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.path) == MAX_DEPTH or self.count > MAX_ELEMENTS:
            raise refuse("MalformedXML", "The XML is nested too deeply or has too many elements.")
        element = Element(name.rpartition(" ")[2])
        self.innermost.children.append(element)
        self.path.append(self.innermost)
        self.innermost = element

    def end(self, _name: str) -> None:
        self.innermost = self.path.pop()

    def characters(self, data: str) -> None:
        self.innermost.text += data

    def doctype(self, *_: object) -> None:
        raise refuse("MalformedXML", "A document type declaration is not accepted.")


def parse(body: bytes) -> Element:
    """The root element of a request body."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):  # a byte order mark would override what we tell the parser
        raise refuse("MalformedXML", "The XML you provided is not UTF-8.")
    reader = _Reader()
    # An encoding given here overrides whatever the document declares: the service speaks UTF-8 only.
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise refuse("MalformedXML", f"The XML you provided was not well-formed: {error}.") from error
    return reader.tree.children[0]


_ESCAPES: Final = str.maketrans(
    # A carriage return must travel as a reference, or the reader's parser turns it into a line feed and the MD5 lies.
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
)


def escape(text: str) -> str:
    """Text as XML character data that any parser reads back unchanged."""
    return text.translate(_ESCAPES) if "&" in text or "<" in text or ">" in text or "\r" in text else text


_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def writable(text: str) -> bool:
    """Whether XML can carry this text at all: no control characters, no halves of surrogate pairs."""
    return _UNWRITABLE.search(text) is None


def clean(text: str) -> str:
    """Text with whatever XML cannot carry replaced: error messages repeat what clients sent."""
    return _UNWRITABLE.sub("\ufffd", text)


def document(root: str, inner: str) -> str:
    """A whole answer: declaration, root element with the namespace, and what is inside."""
    return f'{DECLARATION}\n<{root} xmlns="{NAMESPACE}">\n{inner}</{root}>\n'


def leaf(name: str, value: object) -> str:
    """One element with text.

    A line break follows every element, as on the real service: the vendor's PHP client steps over whatever stands
    behind an element of a system property, and without the break that would be the next element.
    """
    return f"<{name}>{escape(str(value))}</{name}>\n"


def branch(name: str, inner: str) -> str:
    """One element with elements inside."""
    return f"<{name}>\n{inner}</{name}>\n"
