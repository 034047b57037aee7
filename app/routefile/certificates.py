"""The declaration of a scheme of client certificates in a route file, and the scheme that it becomes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..formats.schemas import Json
from .names import Scope
from .strict import StrictModel

if TYPE_CHECKING:
    from ..edge.client_certificates import ClientCertificates


_UNSAID: Any = None


class CertificateModel(StrictModel):
    """Callers with a TLS client certificate from a trusted authority."""

    type: Literal["client-certificate"] = Field(description="The kind of credential that callers send.")
    identity: Literal[
        "subject.CN",
        "subject.O",
        "subject.OU",
        "subject.UID",
        "subject.serialNumber",
        "san.dns",
        "san.uri",
        "san.email",
    ] = Field(
        "subject.CN",
        description="The name of the caller, its subject: an attribute of the subject of its certificate, which must "
        "occur once, or the first alternative name of a kind.",
    )
    # Null is an error: a list whose lines are all comments must not admit everybody.
    allow: list[Annotated[str, Field(min_length=1)]] = Field(
        _UNSAID,
        min_length=1,
        description="The callers that are accepted, by the names in their certificates. Default: all with a valid "
        "certificate.",
    )
    scopes: list[Scope] = Field([], description="The scopes of all callers of this scheme.")
    ca: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="A file with certificates of authorities in PEM form, relative to the folder of the route file. "
        "One of them must have signed the certificate directly. Default: all authorities that are trusted for TLS, or "
        "by the trusted proxy.",
    )
    description: str = Field("", description="For the documentation; CommonMark.")

    @property
    def file(self) -> str | None:
        """The name of the file that the scheme needs, if any."""
        return self.ca


def read_authority_file(data: bytes) -> list[Json]:
    """Check the file of a scheme, and return its contents in the form that `build_certificates` takes. Raises
    ValueError, whose text says what is wrong."""
    from ..edge.client_certificates import read_authorities

    read_authorities(data)
    return [data.decode("ascii", "ignore")]


def build_certificates(name: str, model: CertificateModel, entries: Sequence[Json]) -> "ClientCertificates":
    """The scheme of a checked model. `entries` has the contents of its file. The libraries are only imported here,
    since few route files need them."""
    from ..edge.client_certificates import ClientCertificates, read_authorities

    return ClientCertificates(
        name,
        identity=model.identity,
        allow=model.allow or (),
        scopes=model.scopes,
        authorities=[found for entry in entries for found in read_authorities(str(entry).encode("ascii"))],
        description=model.description,
    )
