"""The model that answers now, and how another takes its place while requests go on.

A request keeps the model it began with. A new one is opened and made to answer its golden example beside the old
one, and only then takes over; where that fails, the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from train.evaluation import verify_golden
from train.labeller import Labeller
from train.schema import SelonError
from train.service import champion

_log = logging.getLogger(__name__)
#: Seconds until a version that could not be opened is tried again.
_AGAIN = 60.0


@dataclass(frozen=True)
class Served:
    """A model that answers, and the version that the registry gives it (None for a folder)."""

    labeller: Labeller
    version: str | None

    @property
    def name(self) -> str:
        """The name that the training's config gave it."""
        return self.labeller.bundle.name


def open_model(address: str | None) -> Served:
    """Open the model that an address means now; SelonError where it is missing, altered or answers differently."""
    folder, version = champion.find(address)
    labeller = Labeller.open(folder)
    verify_golden(labeller)
    return Served(labeller, version)


class Keeper:
    """Holds the model that answers; follows the alias of its address, and reloads when told to.

    Parameters
    ----------
    address : str or None
        As ``selon serve --model`` has it; opened at once.
    watch : float
        Seconds between two looks at the registry.
    swapped : callable
        Told of each attempt: what answers now, and whether it is new.
    """

    def __init__(
        self,
        address: str | None,
        watch: float = 5.0,
        swapped: Callable[[Served, bool], None] = lambda served, new: None,
    ) -> None:
        self._address, self._watch, self.swapped = address, watch, swapped
        self._alias = champion.alias_of(address)
        self.current = open_model(address)
        self._asked = threading.Event()
        self._stop = False
        self._failed: tuple[str | None, float] | None = None
        self._blind = False

    def start(self) -> None:
        """Begin to follow the registry."""
        self._stop = False
        self._asked.clear()
        threading.Thread(target=self._follow, name="selon-watch", daemon=True).start()

    def close(self) -> None:
        """Stop following; does not wait for a model that is being opened."""
        self._stop = True
        self._asked.set()

    def ask(self) -> None:
        """Have the model opened anew soon, in another thread; safe in a signal handler."""
        self._asked.set()

    def reload(self) -> bool:
        """Open the model anew and let it take over; return whether it did. The old one stays where that fails."""
        try:
            opened = open_model(self._address)
        except SelonError as error:
            _log.error("the new model cannot take over: %s", error)
            self.swapped(self.current, False)
            return False
        except Exception as error:  # whatever it is, the old one goes on
            _log.error("the new model cannot take over: %s", type(error).__name__)
            self.swapped(self.current, False)
            return False
        self.current = opened
        self._failed = None
        _log.info("%s %s (%.12s) answers now", opened.name, opened.version or "", opened.labeller.sha256)
        self.swapped(opened, True)
        return True

    def _follow(self) -> None:
        while True:
            asked = self._asked.wait(self._watch)
            self._asked.clear()
            if self._stop:
                return
            try:
                if asked:
                    self.reload()
                elif self._alias is not None:
                    self._look(self._alias)
                    self._blind = False
            except Exception as error:  # whatever it is, the next look may go well
                if not self._blind:  # once, not every few seconds
                    why = error if isinstance(error, champion.RegistryError) else type(error).__name__
                    _log.warning("the registry cannot be asked (%s): the model stays, SIGHUP opens it anew", why)
                self._blind = True

    def _look(self, alias: str) -> None:
        """Reload where the alias means another version than the one that answers."""
        version = champion.alias_version(alias)
        if version in (None, self.current.version):
            return
        if self._failed and self._failed[0] == version and time.monotonic() < self._failed[1]:
            return
        if not self.reload():
            self._failed = version, time.monotonic() + _AGAIN
