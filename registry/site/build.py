"""Writing the site: every file is a function of the catalog, and nothing else in the folder is touched."""

from __future__ import annotations

from pathlib import Path
from string import Template

from medshard.errors import MedshardError
from medshard.registry.catalog import Catalog
from medshard.registry.site.entry_page import entry_body
from medshard.registry.site.index_page import index_body
from medshard.registry.site.markup import Html, join

LISTING = "medshard-site.txt"
"""Names every file of the site, itself included: by it a later build knows what is its own."""

_HERE = Path(__file__).parent
_PAGE = Template((_HERE / "page.html").read_text(encoding="utf8"))
_ASSETS = ("site.css", "site.js")
_FOREIGN_SHOWN = 5


def build_site(catalog: Catalog, folder: Path) -> list[Path]:
    """Write the index, a page per valid entry and the assets; the files written, sorted.

    Raises MedshardError[site.foreign-files] for a folder that holds anything but an earlier site, and
    MedshardError[site.not-a-folder].
    """
    files = site_files(catalog)
    earlier = _files_of_an_earlier_site(folder)
    (folder / "entries").mkdir(parents=True, exist_ok=True)
    (folder / "assets").mkdir(exist_ok=True)
    # The listing comes first and names the old files too: a build that is stopped half-way can be done again.
    (folder / LISTING).write_bytes(_listing(earlier | set(files)))
    for name in sorted(earlier - set(files)):
        (folder / name).unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in sorted(files)]


def site_files(catalog: Catalog) -> dict[str, bytes]:
    """Path below the site's folder -> content. The listing is the last one."""
    files = {"index.html": _page("medshard catalog", index_body(catalog), kind="index", root="")}
    written = {origin.file: _lines(origin.file) for origin in catalog.origins.values()}
    for entry in catalog:
        body = entry_body(entry, catalog, written[catalog.origins[entry.id].file])
        title = f"{entry.title} - medshard catalog"
        files[f"entries/{entry.id}.html"] = _page(title, body, kind="entry", root="../")
    files |= {f"assets/{name}": (_HERE / name).read_bytes() for name in _ASSETS}
    files[LISTING] = _listing({*files, LISTING})
    return files


def _page(title: str, body: Html, *, kind: str, root: str) -> bytes:
    return _PAGE.substitute(title=join(title).markup, body=body.markup, kind=kind, root=root).encode("utf8")


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf8").splitlines()


def _listing(names: set[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode("utf8")


def _files_of_an_earlier_site(folder: Path) -> set[str]:
    """The files in the folder, all of which an earlier site has to name as its own."""
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise MedshardError(
            "site.not-a-folder",
            where=str(folder),
            problem="this is a file; the site needs a folder",
            action="Name a folder that is empty, not there yet, or an earlier site.",
        )
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    listing = folder / LISTING
    own = set(listing.read_text(encoding="utf8").splitlines()) if listing.is_file() else set()
    if foreign := sorted(found - own):
        more = f" and {len(foreign) - _FOREIGN_SHOWN} more" if len(foreign) > _FOREIGN_SHOWN else ""
        raise MedshardError(
            "site.foreign-files",
            where=str(folder),
            problem="the folder holds files that no earlier site has written",
            details={"files": ", ".join(foreign[:_FOREIGN_SHOWN]) + more},
            action="Name an empty folder, or move these files away.",
        )
    return found
