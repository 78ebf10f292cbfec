"""What all models of the catalog share: frozen, strict about unknown fields, and a few checked kinds of text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from medshard.registry.templates import check_template


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


EntryId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Checksum = Annotated[str, StringConstraints(pattern=r"^(md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")]
Doi = Annotated[str, StringConstraints(pattern=r"^10\.\d{4,9}/\S+$")]
WebAddress = Annotated[str, StringConstraints(pattern=r"^(https?|ftp)://[^\s/]+\S*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Template = Annotated[str, AfterValidator(check_template)]
"""A path below the raw tree with `{field}`, `*` and `**`; see `medshard.registry.layout`."""
