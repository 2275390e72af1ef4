"""Results that are there already, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


class Finished:
    """Results by key; with a file, one line of JSON for each, written as soon as it is there.

    A key says everything that a result depends on but the code of ctrain itself.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.results: dict[str, dict] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.results[entry["key"]] = entry["result"]

    def get(self, key: dict, work: Callable[[], dict]) -> dict:
        """The result of `key`; `work` is done if there is none."""
        name = json.dumps(key, sort_keys=True)
        if name not in self.results:
            self.results[name] = work()
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"key": name, "result": self.results[name]}) + "\n")
        return self.results[name]
