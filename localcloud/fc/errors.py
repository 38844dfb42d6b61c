"""What can keep a template from being deployed; each message names the place and what was found there.

* DeployError           -- nothing was deployed, and why
  + TemplateError       -- the template itself: a path in it, and what is wrong there
  + FunctionError       -- one function could not start, with its own error text
"""


class DeployError(ValueError):
    """The deployment did not happen; the message is for the person who asked for it."""


class TemplateError(DeployError):
    """The template is wrong at one or more places."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where


class FunctionError(DeployError):
    """One function of the template could not be put to work."""

    def __init__(self, function: str, what: str) -> None:
        super().__init__(f"function {function}: {what}")
