"""Places on this machine that `run` makes before it opens a sink."""

import os
from pathlib import Path

__all__ = ["made_by_run"]


def made_by_run(path: str | Path, state: Path) -> bool:
    """Whether the folder of a file is not there yet and comes to be with `state.path`.

    Args:
        path: a file that a sink is to write.
        state: `state.path`; it is made with all that it lies in, and nothing is made below it.
    """
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 - without looking: it may not be there
    return not folder.exists() and Path(os.path.abspath(state)).is_relative_to(folder)  # noqa: PTH100
