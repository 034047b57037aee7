"""The settings of one NATS cluster or account. Those of `main` are NATS_URL and so on. Those of another one have its
name in between: NATS_FACTORY_URL."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from ..formats.clusters import MAIN, SETTINGS, name_variables, parse_clusters
from ..nats.addresses import Address
from ..nats.credentials import Credentials
from .kinds import split_servers

CLUSTERS = "GATEWAY_NATS"
"""The setting with the names of the other clusters."""


class NatsServers(BaseModel):
    """The servers of one cluster or account, and the credentials for them. Frozen."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    nats_url: Annotated[tuple[str, ...], BeforeValidator(split_servers)] = Field(
        default=("nats://localhost:4222",),
        validation_alias="NATS_URL",
        repr=False,  # it may contain a password
        description="NATS servers, separated by commas: `nats://host:port` or `tls://host:port`. If a server requires "
        "a login, write `user:password@` or `token@` before the host, percent-encoded.",
    )
    nats_creds: Path | None = Field(
        default=None,
        validation_alias="NATS_CREDS",
        repr=False,
        description="File with the JWT and the seed of a user, as `nsc` writes it.",
    )
    nats_nkey_seed: Path | None = Field(
        default=None,
        validation_alias="NATS_NKEY_SEED",
        repr=False,
        description="File with the seed of a user's nkey, which begins with `SU`.",
    )
    nats_user: str | None = Field(
        default=None, validation_alias="NATS_USER", repr=False, description="User, for servers that require one."
    )
    nats_password: SecretStr | None = Field(
        default=None, validation_alias="NATS_PASSWORD", description="The password of `NATS_USER`."
    )
    nats_token: SecretStr | None = Field(
        default=None, validation_alias="NATS_TOKEN", description="Token, for servers that require one."
    )
    nats_tls_ca: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_CA",
        repr=False,
        description="File with the certificates, in PEM form, of the authorities that may have signed the server's "
        "certificate. Unset: the authorities that the system trusts.",
    )
    nats_tls_cert: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_CERT",
        repr=False,
        description="File with the gateway's client certificate, in PEM form, for servers that require one.",
    )
    nats_tls_key: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_KEY",
        repr=False,
        description="File with the private key of `NATS_TLS_CERT`, in PEM form and not encrypted.",
    )

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return MAIN

    @property
    def credentials(self) -> Credentials:
        """The credentials for the servers, and the authorities that must have signed a server's certificate."""
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
            cluster=self.cluster,
        )

    def find_conflicts(self) -> list[str]:
        """One line for each conflict of these settings."""
        return self.credentials.find_conflicts([Address.parse(server) for server in self.nats_url])


class Cluster(NatsServers):
    """A cluster or account of GATEWAY_NATS."""

    name: str = Field(exclude=True)

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return self.name

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if faults := self.find_conflicts():
            raise ValueError("\n".join(faults))
        return self


def read_clusters(value: object) -> object:
    """For a text with names, the variables of each of these clusters, by name. Any other value is returned with the
    names in it. Raises ValueError."""
    if not isinstance(value, str):
        return {n: {**given, "name": n} for n, given in value.items()} if isinstance(value, Mapping) else value
    found = {name: read_cluster(name) for name in parse_clusters(value)}
    lacks = [name_variables("NATS_URL", name) for name, variables in found.items() if "NATS_URL" not in variables]
    if lacks:
        raise ValueError(f"needs {', '.join(lacks)}")
    return {name: {**variables, "name": name} for name, variables in found.items()}


def list_cluster_names() -> Sequence[str]:
    """The names that GATEWAY_NATS has; empty if its value is wrong."""
    try:
        return parse_clusters(os.environ.get(CLUSTERS) or "")
    except ValueError:
        return ()


def read_cluster(name: str) -> dict[str, str]:
    """What the environment sets for this cluster, by the names of the variables of `main`."""
    found = ((variable, os.environ.get(name_variables(variable, name))) for variable in SETTINGS)
    return {variable: text for variable, text in found if text}
