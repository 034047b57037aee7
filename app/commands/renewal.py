"""Replaces the certificate of a running gateway.

Laws:
1. Certificate, key and authorities change together or not at all. Open connections keep the old ones.
2. Wrong files change nothing. The log has the faults.
3. Nobody waits for the files: a thread reads them, since their disk may hang.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from ..certificates import Certificate, CertificateError, CertificateFiles

LIMIT = 30.0  # seconds that the files may take

_log = structlog.get_logger("nats-http.tls")


class Renewals:
    """The certificate in these files, which are read again after each `ask`. Without files there is no certificate."""

    def __init__(self, files: CertificateFiles | None) -> None:
        self._files = files
        self._is_asked = False
        self._reading: _Reading | None = None

    @property
    def files(self) -> Sequence[Path]:
        """All files of the certificate."""
        return self._files.all if self._files else ()

    def load(self) -> Certificate | None:
        """The certificate at the start. This may wait for the disk. Raises CertificateError."""
        if self._files is None:
            return None
        certificate = self._files.read()
        _warn(certificate.find_warning())
        return certificate

    def ask(self) -> None:
        """Ask for another reading of the files. `poll` begins it."""
        self._is_asked = self._files is not None

    @property
    def is_idle(self) -> bool:
        """Whether no reading is under way, and none was asked for."""
        return self._reading is None and not self._is_asked

    def poll(self) -> Certificate | None:
        """The certificate of the last `ask`, when it has been found valid. Returns at once: call this at intervals."""
        if self._reading is None:
            if self._is_asked and self._files is not None:
                self._is_asked, self._reading = False, _Reading(self._files)
            return None
        if self._reading.is_under_way:
            return None
        reading, self._reading = self._reading, None
        return reading.report()


class _Reading(threading.Thread):
    def __init__(self, files: CertificateFiles) -> None:
        super().__init__(daemon=True)
        self._files = files
        self._end = time.monotonic() + LIMIT
        self._certificate: Certificate | None = None
        self._faults: tuple[str, ...] = (f"the files of the certificate were not read within {LIMIT:g} seconds",)
        self._warning: str | None = None
        self.start()

    def run(self) -> None:
        """Read the files, and note what is wrong with them."""
        try:
            certificate = self._files.read()
            self._warning = certificate.find_warning()
            self._certificate = certificate
        except CertificateError as error:
            self._faults = error.faults

    @property
    def is_under_way(self) -> bool:
        """Whether the files are still being read, and LIMIT has not passed."""
        return self.is_alive() and time.monotonic() < self._end

    def report(self) -> Certificate | None:
        """Log the result, and return the certificate if it is valid."""
        if self._certificate is None:
            _log.error("certificate-refused", faults=self._faults)
        else:
            _log.info("certificate-loaded", file=str(self._files.cert))
            _warn(self._warning)
        return self._certificate


def _warn(warning: str | None) -> None:
    if warning:
        _log.warning("certificate-not-valid", reason=warning)
