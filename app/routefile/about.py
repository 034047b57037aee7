"""The keys of a route file that describe the API as a whole. OpenAPI 3.1 defines them (§4.8.2 to §4.8.5, §4.8.22)."""

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from .strict import StrictModel, check_with

_ADDRESS = re.compile(r"https?://[^\s/?#]+\S*")
_PATH = re.compile(r"/([^\s/?#][^\s?#]*)?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_SPDX = re.compile(r"[A-Za-z0-9.+:() -]+")


def _check_address(text: str) -> None:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must be a URL such as https://example.com/page")


def _check_email(text: str) -> None:
    if not _EMAIL.fullmatch(text):
        raise ValueError("must be an e-mail address such as team@example.com")


def _check_spdx(text: str) -> None:
    if not _SPDX.fullmatch(text):
        raise ValueError("must be an SPDX expression such as Apache-2.0")


def _check_server(text: str) -> None:
    if "{" in text or not (_ADDRESS.fullmatch(text) or _PATH.fullmatch(text)):
        raise ValueError("must be a URL such as https://example.com/v1, or a path such as /v1, without variables")


Address = Annotated[str, check_with(_check_address)]


class ContactModel(StrictModel):
    """The person or team that is responsible for the API, as in OpenAPI."""

    name: str = Field("", description="A person, a team or a company.")
    url: Address | None = Field(None, description="Their web page.")
    email: Annotated[str, check_with(_check_email)] | None = Field(None, description="Their email address.")


class LicenseModel(StrictModel):
    """The licence of the API, as in OpenAPI. It can have an `identifier` or a `url`, not both."""

    name: str = Field(min_length=1, description="The name of the licence.")
    identifier: Annotated[str, check_with(_check_spdx)] | None = Field(
        None, description="Its SPDX expression, such as `Apache-2.0`."
    )
    url: Address | None = Field(None, description="The address of its text.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.identifier and self.url:
            raise ValueError("can have an `identifier` or a `url`, not both")
        return self


class InfoModel(StrictModel):
    """The name and description of the API in its documentation."""

    title: str = Field("NATS HTTP gateway", min_length=1, description="The name of the API.")
    version: str = Field("", description="The version of the API. Default: the version of the gateway.")
    version_of: str | None = Field(
        None,
        description="A service of `discover` whose version is that of the API. Until it is found, `version` counts.",
    )
    description: str = Field("", description="The purpose of the API; CommonMark.")
    contact: ContactModel | None = Field(None, description="The person or team that is responsible for the API.")
    license_: LicenseModel | None = Field(None, alias="license", description="The licence of the API.")


class ServerModel(StrictModel):
    """An address where callers find the gateway, as in OpenAPI."""

    url: Annotated[str, check_with(_check_server)] = Field(
        description="A URL such as `https://api.example.com/v1`, or a path such as `/v1` on the host that the document "
        "comes from. Paths are added to it. No variables."
    )
    description: str = Field("", description="The purpose of this server; CommonMark.")


class TagModel(StrictModel):
    """The meaning of a tag of routes, as in OpenAPI."""

    name: str = Field(min_length=1, description="The tag, as routes write it.")
    description: str = Field("", description="A description of its routes; CommonMark.")
