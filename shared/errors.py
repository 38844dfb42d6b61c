"""What can go wrong, sorted by what happens next.

* GrantError
  x PermanentError      -- same input, same answer: the request is rejected, nothing is retried
    + BadInput          -- the message itself is wrong; names the field and what was found
    + NotAllowed        -- well formed, but nothing here permits it
    + SealRefused       -- a seal that can be read, but does not vouch for the approval here and now
      - NotTheSuccessor -- a configuration that does not follow the newest one
    + InstanceNotFound  -- account B has no such instance in that region
  x NeedsSomebody       -- only a person can change the answer: the work is dead until redriven
    + ProofBroken       -- a lease that something is to be made for is not proven by its seal
    + PermissionMissing -- a RAM policy lacks an action, or a role may not be assumed
  x TemporaryError      -- may pass by itself: later
    + Superseded        -- another configuration is the newest now: decide again
    + Unconfigured      -- no configuration can be believed: nothing is granted until one can
    + Throttled         -- a quota is used up; certainly not executed
    + Locked            -- the ECR or instance is busy; certainly not executed
    + GoneAlready       -- what was to be removed is not there: look again
    + CloudTrouble      -- the platform failed; a write may still have landed
    + CloudUnreachable  -- no usable answer; a write may still have landed
* SettingsError         -- this deployment cannot start
* LedgerError           -- the ledger is away or of another version: nothing can be admitted
"""

from __future__ import annotations


class GrantError(Exception):
    """Base of everything that can befall one piece of work. ``code`` is stable and short, ``str()`` is for people."""

    code = "Error"

    def __init__(self, text: str, *, code: str | None = None, executed: bool = False, text_zh: str = "") -> None:
        """``executed`` says that a write which raised this may have taken effect all the same."""
        super().__init__(text)
        self.code = code or self.code
        self.executed = executed
        self.text_zh = text_zh


class PermanentError(GrantError):
    """Same input, same answer."""

    code = "Rejected"


class BadInput(PermanentError):
    """The message is wrong. The text names each field and what was found in it."""

    code = "BadInput"


class NotAllowed(PermanentError):
    """The message is well formed, but nothing in this deployment permits it. ``rules``: ids of those of the policy that decided;
    ``advice``: what they say is to be done about it.
    """

    code = "NotAllowed"
    rules: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


class SealRefused(PermanentError):
    """The seal of an approval can be read, but is not believed. The code says why."""

    code = "SealForged"


class NotTheSuccessor(NotAllowed):
    """A configuration that was not made for what holds now."""

    code = "NotTheSuccessor"


class InstanceNotFound(PermanentError):
    """Account B has no such instance in that region."""

    code = "InstanceNotFound"


class NeedsSomebody(GrantError):
    """Retrying cannot help before a person has changed something."""

    code = "NeedsSomebody"


class ProofBroken(NeedsSomebody):
    """What the ledger says of a lease is not what was sealed, or its seal is not good any more: nothing is made for it."""

    code = "ProofBroken"


class PermissionMissing(NeedsSomebody):
    """A RAM policy lacks an action, or a role may not be assumed."""

    code = "PermissionMissing"


class TemporaryError(GrantError):
    """May pass by itself."""

    code = "Temporary"


class Superseded(TemporaryError):
    """It was decided under a configuration that is not the newest one: nothing was written, decide again."""

    code = "Superseded"


class Unconfigured(TemporaryError):
    """There is no configuration, or the newest one cannot be believed."""

    code = "Unconfigured"


class Throttled(TemporaryError):
    """A quota is used up. ``retry_after`` is in seconds where the platform named a time."""

    code = "Throttled"

    retry_after: float | None = None


class Locked(TemporaryError):
    """Another operation on the same ECR or instance is unfinished."""

    code = "Locked"


class GoneAlready(TemporaryError):
    """The platform does not know what was to be removed."""

    code = "GoneAlready"


class CloudTrouble(TemporaryError):
    """The platform failed while it worked on the call."""

    code = "CloudTrouble"


class CloudUnreachable(TemporaryError):
    """The platform gave no usable answer."""

    code = "CloudUnreachable"


class SettingsError(Exception):
    """The environment or the inventory is not fit to start with. Lists every fault at once."""


class LedgerError(Exception):
    """The ledger is away, or its schema is not the one this code was written for."""
