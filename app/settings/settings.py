"""All settings together: whether they fit, and values that follow from them."""

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from ..certificates import CertificateFiles
from ..edge.proxies import Proxies
from ..nats.addresses import Address
from ..nats.credentials import Credentials
from .environment import read_variables
from .fields import Fields


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
    def credentials(self) -> Credentials:
        """The credentials for NATS servers, and the authorities that must have signed a server's certificate."""
        password, token = (
            None if secret is None else secret.get_secret_value() for secret in (self.nats_password, self.nats_token)
        )
        return Credentials(
            creds=self.nats_creds,
            nkey_seed=self.nats_nkey_seed,
            user=self.nats_user,
            password=password,
            token=token,
            tls_ca=self.nats_tls_ca,
            tls_cert=self.nats_tls_cert,
            tls_key=self.nats_tls_key,
        )

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
        return [*self.credentials.find_faults(), *(files.find_faults() if files else ())]

    @property
    def logs_successes(self) -> bool:
        """Whether the log has successes and refusals. The level must allow it too."""
        return bool(self.access_log) and self.log_level in ("debug", "info")

    def with_embedded(self, server: str) -> "Settings":
        """The same settings for this NATS server, without any credentials."""
        return self.model_copy(update={**dict.fromkeys(_nats_fields()), "nats_url": (server,)})

    @property
    def nats_variables(self) -> dict[str, str]:
        """The `NATS_…` variables for a child process, so that it connects to the same servers in the same way. Settings
        that are not set are empty."""
        names = [name for name in _nats_fields() if getattr(self, name) is None]
        unset = {str(Settings.model_fields[name].validation_alias): "" for name in names}
        return {**unset, "NATS_URL": ",".join(self.nats_url)}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        faults = self.credentials.find_conflicts([Address.parse(server) for server in self.nats_url])
        faults += self._find_lacks()
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


def _nats_fields() -> list[str]:
    return [name for name in Settings.model_fields if name.startswith("nats_")]
