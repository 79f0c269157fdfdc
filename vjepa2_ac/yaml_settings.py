"""Settings from YAML, each of which is said once."""

from __future__ import annotations

from typing import Any

import yaml


def load(text: str | bytes) -> Any:
    """What a YAML text holds. Raises yaml.YAMLError, also where a name stands twice in one place."""
    return yaml.load(text, _Once)


class _Once(yaml.SafeLoader):
    """Of two settings of one name the library takes the last, and drops the first without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Settings as they are written, by name."""
        node = super().compose_mapping_node(anchor)
        names = [name.value for name, _ in node.value]
        if again := next((name for number, name in enumerate(names) if name in names[:number]), None):
            raise yaml.composer.ComposerError(None, None, f"'{again}' is said twice", node.start_mark)
        return node
