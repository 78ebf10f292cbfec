"""Kind `github`: a repository at one commit, as the one archive that GitHub packs of it, or single files of it.

`GET /repos/{owner}/{name}/commits?per_page=1` (`sha` is the commit, branch or tag to start from, the default branch
without it) answers a list whose first item has the `sha` of the commit. A revision that is a commit is not looked up.
The archive is packed anew for each request: it has no stated size or digest and cannot be resumed. All of its members
lie in one folder named after repository and commit, which they lose here, so that paths are those of the repository.
Files kept in Git LFS and submodules are not in it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import (
    Asking,
    Credential,
    Host,
    HttpAddress,
    ListedFile,
    Listing,
    RemoteFile,
    RemoteSource,
    bearer_token,
)
from medshard.registry.hosts.http import Answer, addressed_files, all_addressed, ask, stated_addresses

API = "https://api.github.com"


class GitHubSource(RemoteSource):
    """A repository at a commit, tag or branch, or single files of it."""

    kind: Literal["github"]
    repository: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
    revision: str | None = None
    include: tuple[str, ...] = ("*",)


class _Commit(Answer):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


def _place(source: GitHubSource) -> str:
    return f"GitHub {source.repository}" + (f" at {source.revision}" if source.revision else "")


def _page(source: GitHubSource) -> str:
    return f"https://github.com/{source.repository}"


def _pinned(source: GitHubSource) -> str | None:
    """The revision, when it is a commit already."""
    revision = source.revision or ""
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else None


def _commit_address(source: GitHubSource) -> str:
    start = f"&sha={quote(source.revision, safe='')}" if source.revision else ""
    return f"{API}/repos/{source.repository}/commits?per_page=1{start}"


def _archive_address(source: GitHubSource, commit: str) -> str:
    return f"https://codeload.github.com/{source.repository}/zip/{commit}"


def _raw_address(source: GitHubSource, commit: str, file: RemoteFile) -> str:
    return file.url or f"https://raw.githubusercontent.com/{source.repository}/{commit}/{quote(file.name)}"


def _first_requests(source: GitHubSource) -> tuple[str, ...]:
    commit = _pinned(source)
    if all_addressed(source):
        return stated_addresses(source)
    if commit is None:
        return (_commit_address(source),)
    if source.files:
        return tuple(_raw_address(source, commit, file) for file in source.files)
    return (_archive_address(source, commit),)


def _list_files(source: GitHubSource, asking: Asking) -> Listing:
    if all_addressed(source):
        return addressed_files(source, lambda file: file.url, asking)
    commit = _pinned(source) or _newest_commit(source, asking)
    if source.files:
        files = addressed_files(source, lambda file: _raw_address(source, commit, file), asking).files
    else:
        files = (_packed(source, commit),)
    return Listing(files=files, revision=commit)


def _newest_commit(source: GitHubSource, asking: Asking) -> str:
    commits = ask(list[_Commit], _commit_address(source), asking)
    if not commits:
        raise AcquisitionError(
            "host.gone",
            where=asking.where,
            problem=f"the repository {source.repository} has no commit at {source.revision or 'its default branch'}",
            details={"page": _page(source)},
            action="Mend `revision` in the catalog entry.",
        )
    return commits[0].sha


def _packed(source: GitHubSource, commit: str) -> ListedFile:
    everything = source.include == ("*",)
    return ListedFile(
        name=f"{source.repository.rsplit('/', 1)[-1]}-{commit}.zip",
        address=HttpAddress(url=_archive_address(source, commit), ranges=False),
        archive="zip",
        # Patterns see the members with the archive's own folder in front.
        include=source.include if everything else tuple(f"*/{pattern}" for pattern in source.include),
        strip=1,
    )


HOST = Host(
    source=GitHubSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    credential=Credential(
        origins=(API,),
        read=bearer_token("GITHUB_TOKEN"),
        variables=("GITHUB_TOKEN",),
        opens_gates=False,
        how="Only where the 60 anonymous requests an hour are used up: make a personal access token without scopes in "
        "the developer settings of your GitHub account.",
    ),
)
