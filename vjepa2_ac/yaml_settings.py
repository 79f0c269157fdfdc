"""Loading of settings from YAML, in which no name may stand twice."""

from __future__ import annotations

from typing import Any

import yaml


def load(text: str | bytes) -> Any:
    """The values in a YAML text. Raises yaml.YAMLError, also where one mapping has a name twice."""
    return yaml.load(text, _Once)


class _Once(yaml.SafeLoader):
    """A safe loader that refuses repeated names, of which PyYAML would silently take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node of a mapping. Raises ComposerError where it has a name twice."""
        node = super().compose_mapping_node(anchor)
        names = [name.value for name, _ in node.value]
        if again := next((name for number, name in enumerate(names) if name in names[:number]), None):
            raise yaml.composer.ComposerError(None, None, f"'{again}' is said twice", node.start_mark)
        return node
