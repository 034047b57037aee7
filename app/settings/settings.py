"""All settings together: whether they fit, and values that follow from them."""

from collections.abc import Iterator, Mapping
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from ..certificates import CertificateFiles
from ..edge.proxies import Proxies
from ..formats.clusters import MAIN
from .environment import read_variables
from .fields import Fields
from .nats import NatsServers


class Settings(Fields):
    """All settings, frozen. Durations are seconds, sizes are bytes."""

    @property
    def metrics(self) -> bool | tuple[str, int]:
        """The place of `/metrics`: True for the gateway's own port, False for nowhere, else a host and a port."""
        if self.metrics_address is not None:
            return self.metrics_address
        return self.status if isinstance(self.status, tuple) else True

    @property
    def addresses_beside(self) -> dict[tuple[str, int], str]:
        """The hosts and ports that are only for pages, each with the setting that names it."""
        places = ((self.metrics, "GATEWAY_METRICS_ADDRESS"), (self.status, "GATEWAY_STATUS"))
        return {place: name for place, name in places if isinstance(place, tuple)}

    @property
    def nats(self) -> Mapping[str, NatsServers]:
        """The settings of all NATS clusters and accounts, by name. The first is `main`."""
        return {MAIN: self, **(self.clusters or {})}

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """The files for TLS on the gateway's own port. None if it speaks plain HTTP."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return CertificateFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def takes_client_certificates(self) -> bool:
        """Whether the certificate of a caller can reach the gateway, by TLS or from a proxy."""
        return bool(self.tls_client_ca or self.trusted_proxies)

    @property
    def scheme(self) -> str:
        """The scheme of URLs on the gateway's own port."""
        return "http" if self.certificate_files is None else "https"

    @property
    def proxies(self) -> Proxies:
        """The trusted proxies, and the path under which callers see the gateway."""
        return Proxies(self.trusted_proxies or (), root=self.root_path or "")

    def find_file_faults(self) -> list[str]:
        """One line for each fault in the files of credentials and certificates."""
        files = self.certificate_files
        of_nats = [fault for servers in self.nats.values() for fault in servers.credentials.find_faults()]
        return [*of_nats, *(files.find_faults() if files else ())]

    @property
    def logs_successes(self) -> bool:
        """Whether the log has successes and refusals. The level must allow it too."""
        return bool(self.access_log) and self.log_level in ("debug", "info")

    def with_embedded(self, server: str) -> "Settings":
        """The same settings with this NATS server as `main`, without any credentials for it."""
        return self.model_copy(update={**dict.fromkeys(NatsServers.model_fields), "nats_url": (server,)})

    @property
    def nats_variables(self) -> dict[str, str]:
        """The variables of `main` for a child process, so that it connects to the same servers in the same way. A
        setting that is not set is empty."""
        fields = NatsServers.model_fields.items()
        unset = {str(info.validation_alias): "" for name, info in fields if getattr(self, name) is None}
        return {**unset, "NATS_URL": ",".join(self.nats_url)}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        faults = [*self.find_conflicts(), *self._find_lacks()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _find_lacks(self) -> Iterator[str]:
        """Faults of settings that need another setting."""
        needs = (
            (
                "GATEWAY_PROXY_PROTOCOL",
                self.proxy_protocol or None,
                "GATEWAY_TRUSTED_PROXIES",
                self.trusted_proxies or None,
            ),
            ("GATEWAY_TLS_CERT", self.tls_cert, "GATEWAY_TLS_KEY", self.tls_key),
            ("GATEWAY_TLS_KEY", self.tls_key, "GATEWAY_TLS_CERT", self.tls_cert),
            ("GATEWAY_TLS_CLIENT_CA", self.tls_client_ca, "GATEWAY_TLS_CERT", self.tls_cert),
            ("GATEWAY_HSTS_MAX_AGE", self.hsts, "GATEWAY_TLS_CERT", self.tls_cert),
        )
        return (f"{name}: needs {other}" for name, value, other, its in needs if value is not None and its is None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads first the arguments of the code, then the variables by their exact names. The default source would also
        read a variable such as TIMEOUT."""
        return init_settings, InitSettingsSource(settings_cls, dict(read_variables()))
