"""Logs what the gateway does not use of services.

Laws:
1. Each remark is logged once, as long as it stays so.
2. There are at most LINES lines in WINDOW seconds, whatever strangers on NATS say. One more says how many are left out.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from ..discovery.infos import Remark

LINES = 100
WINDOW = 60.0  # seconds

_log = structlog.get_logger("nats-http.reload")


class RemarkLog:
    """Logs remarks. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: frozenset[Remark] = frozenset()
        self._began = 0.0
        self._lines = 0

    def log(self, remarks: Sequence[Remark]) -> None:
        """Log those that are new. `remarks` are all that there are now."""
        fresh = [remark for remark in dict.fromkeys(remarks) if remark not in self._before]
        self._before = frozenset(remarks)
        if not fresh:
            return
        now = self._clock()
        if self._lines == 0 or now - self._began >= WINDOW:
            self._began, self._lines = now, 0
        shown = fresh[: max(0, LINES - self._lines)]
        for remark in shown:
            if remark.is_missing:
                _log.warning("service-missing", service=remark.service, reason=remark.text)
            else:
                _log.warning("service-refused", service=remark.service, endpoint=remark.endpoint, reason=remark.text)
        if len(fresh) > len(shown) and self._lines <= LINES:
            reason = f"there are {len(fresh) - len(shown)} more; `nats-http discover` lists all"
            _log.warning("service-refused", service=None, endpoint=None, reason=reason)
            self._lines = LINES + 1
        else:
            self._lines += len(shown)
