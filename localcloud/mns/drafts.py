"""Messages as clients send them, to a queue or to a topic."""

from localcloud.mns.attributes import whole_number
from localcloud.mns.errors import refuse
from localcloud.mns.markup import Element
from localcloud.mns.messages import DEFAULT_PRIORITY, LOWEST_PRIORITY, Draft, Property, check_properties
from localcloud.refusal import not_emulated


def read_draft(element: Element) -> Draft:
    """A message as a client sends it."""
    if element.value("MessageGroupId") is not None:
        raise not_emulated("An ordered message (MessageGroupId)")
    body = element.child("MessageBody")
    if body is None:
        raise refuse("MalformedXML", "The element MessageBody is missing.")
    text = body.scalar()
    if not text:
        raise refuse("InvalidArgument", "The MessageBody should not be empty.")
    delay = element.value("DelaySeconds")
    priority = element.value("Priority")
    user = _read_properties(element, "UserProperties", "PropertyValue")
    system = _read_properties(element, "SystemProperties", "SystemPropertyValue")
    if user or system:
        check_properties(user, system)
    return Draft(
        text,
        None if delay is None else whole_number("DelaySeconds", delay, 0, 604_800),
        # One client always sends a priority and means "unset" by zero (section 2.2).
        DEFAULT_PRIORITY
        if priority is None
        else whole_number("Priority", priority, 0, LOWEST_PRIORITY) or DEFAULT_PRIORITY,
        user,
        system,
    )


def _read_properties(element: Element, root: str, item: str) -> tuple[Property, ...]:
    parent = element.child(root)
    if parent is None:
        return ()
    found = []
    for each in parent.all(item):
        name, value, kind = each.child("Name"), each.child("Value"), each.child("Type")
        if name is None or value is None or kind is None:
            raise refuse("MalformedXML", f"Each {item} needs Name, Value and Type.")
        found.append(Property(name.scalar(), value.scalar(), kind.scalar()))
    return tuple(found)
