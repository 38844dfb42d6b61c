"""Checks an s.yaml without a local cloud that runs: the template itself and, given a world, what it names there."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from localcloud.clock import Clock
from localcloud.fc.deployment import Check
from localcloud.fc.template.load import look
from localcloud.world import World
from localcloud.worldfile import WorldError, WorldFile, read_world
from localcloud.yamlfile import Mistake

_ACCOUNT = "1000000000000001"
"""What config('AccountID') stands for when no world says it."""
_KEYS = frozenset({"edition", "resources", "access", "vars"})


class _Listed:
    """The queues and topics that a world file lists."""

    def __init__(self, world: WorldFile) -> None:
        self._world = world

    def exists(self, kind: str, account: str, name: str) -> bool:
        """Whether there is such a queue or topic."""
        found = self._world.accounts.get(account)
        return found is not None and name in (found.queues if kind == "queue" else found.topics)


def is_template(path: Path) -> bool:
    """Whether a file means to be a template: by its keys, or by its name when it has none that tell."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        node = yaml.compose(text, yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return path.name in {"s.yaml", "s.yml"}
    keys = {key.value for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
    if "accounts" in keys:
        return False
    return bool(keys & _KEYS) or path.name in {"s.yaml", "s.yml"}


def check_template(path: Path, environment: Mapping[str, str], world_path: Path | None) -> str:
    """One line when all is well; a WorldError with a line for each mistake when not."""
    world: WorldFile | None = read_world(world_path) if world_path is not None else None
    account = _ACCOUNT if world is None else world.deploy.account if world.deploy else next(iter(world.accounts))
    template = look(path, environment, account, stand_in=True)
    if world is not None:
        check = Check(World(world, Clock()), _Listed(world), {spec.name for spec in template.specs})
        for spec in template.specs:
            _, found = check.examine(spec)
            root = ("resources", spec.resource, "props")
            template.mistakes.extend(Mistake((*root, *place), f"{spec.where}: {text}") for place, text in found)
    if template.mistakes:
        raise WorldError(template.told(str(path)))
    needs = f"; needs {', '.join(sorted(template.missing))} from --env" if template.missing else ""
    against = "" if world is not None else " (what it names was not looked for: --world FILE)"
    return f"{path}: fine: {len(template.specs)} functions{needs}{against}"
