"""The catalog as a web site: complete, closed in itself, and usable in a browser without a server or a network.

With MEDSHARD_SCREENSHOTS=<folder> the pages are kept as pictures; docs/images/catalog-site.png is made here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from medshard.errors import MedshardError
from medshard.registry import Catalog
from medshard.registry.site import build_site
from medshard.registry.site.facets import FACETS
from medshard.registry.site.index_page import searchable
from medshard.registry.vocabulary import Confidence

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")

EVIL = """<script>alert(1)</script>"' onmouseover='x' & </script><!--"""
HOSTILE = """\
format_version: 1
entries:
  - id: hostile
    title: TITLE
    names: [TITLE]
    description: TITLE
    version: TITLE
    groups: [brain]
    modalities: [CT]
    tasks: [segmentation]
    dimensions: [3]
    source: {cases: 2, unit: TITLE, formats: [TITLE]}
    licence: {id: CC-BY-4.0, note: TITLE, notice: TITLE}
    access: {kind: account, instructions: TITLE}
    maturity: described
    confidence: partly
    doubts: [TITLE]
    evidence: [TITLE]
    citation: {text: TITLE, doi: "10.1000/<script>alert(2)</script>"}
    acquisition:
      - {kind: manual, instructions: TITLE, note: TITLE, files: [{name: TITLE}]}
    cases:
      - modality: CT
        images:
          image: {path: "{case}.nii.gz", unit: TITLE}
        labels:
          mask: {path: "{case}_seg.nii.gz", classes: {1: liver}, names: {1: TITLE}, unmapped: {2: TITLE}}
        annotations:
          grade: {kind: score-table, path: grades.csv, column: TITLE, note: TITLE}
    layout_notes: TITLE
    splits: [{name: train, cases: 2, note: TITLE}]
    overlaps: [{entry: other, kind: possible, evidence: TITLE}]
    known_defects: [{problem: TITLE, action: accept}]
    notes: TITLE

  - id: other
    title: Another one
    description: The other end of the overlap.
    version: "1"
    groups: [brain]
    modalities: [MR]
    tasks: [self-supervised]
    dimensions: [3]
    licence: {id: LicenseRef-unknown}
    access: {kind: open}
    maturity: described
    acquisition:
      - {kind: folder, path: scans}
"""


class Page(HTMLParser):
    """What a page links to, loads, and calls its parts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.source = file.read_text(encoding="utf8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        stated = {name: value or "" for name, value in attrs}
        assert not [name for name in stated if name.startswith("on")], "handlers in attributes"
        self.tags.append(tag)
        self.anchors += [stated["id"]] if "id" in stated else []
        self.links += [stated["href"]] if tag == "a" else []
        self.loaded += [stated[name] for name in ("src", "href") if name in stated and tag != "a"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def site(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site(catalog, folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Path below the site -> page."""
    return {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))}


def hostile_catalog(folder: Path) -> Catalog:
    file = folder / "hostile.yaml"
    file.write_text(HOSTILE.replace("TITLE", '"' + EVIL.replace('"', '\\"') + '"'))
    catalog = Catalog.load([file])
    assert catalog.problems == ()
    return catalog


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_entry_has_a_page_and_a_row(catalog: Catalog, pages: dict[str, Page]) -> None:
    rows = pages["index.html"].anchors
    for entry in catalog:
        assert entry.id in rows
        assert entry.title in pages[f"entries/{entry.id}.html"].text


def test_no_page_links_to_what_is_not_there(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        path = site / name
        assert len(set(page.anchors)) == len(page.anchors), f"{path.name} uses an id twice"
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme:
                assert parts.scheme in {"http", "https", "ftp"}, address
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            assert target.is_file(), f"{path.name} -> {address}"
            if parts.fragment and "=" not in parts.fragment:
                assert parts.fragment in pages[target.relative_to(site).as_posix()].anchors, f"{path.name} -> {address}"


def test_pages_load_nothing_but_files_of_the_site(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for address in page.loaded:
            assert address == "data:," or ((site / name).parent / address).is_file(), f"{name} loads {address}"
    assert not re.search(r"url\(|@import|fetch\(|https?:", "".join((site / "assets/site.css").read_text().split()))
    assert not re.search(r"fetch\(|XMLHttpRequest|innerHTML|eval\(|https?:", (site / "assets/site.js").read_text())


def test_a_page_tells_what_its_entry_says(catalog: Catalog, pages: dict[str, Page]) -> None:
    for entry in catalog:
        page = " ".join(pages[f"entries/{entry.id}.html"].text.split())
        said = [entry.description, entry.version, *entry.doubts, *entry.evidence, *entry.names, entry.notes]
        said += [entry.licence.note, entry.licence.notice, entry.access.instructions, entry.layout_notes]
        said += [difference.note for difference in entry.differences]
        said += [text for defect in entry.known_defects for text in (defect.problem, *defect.cases)]
        said += list(entry.concepts)
        said += [getattr(source, field, "") for source in entry.acquisition for field in ("note", "instructions")]
        said += [
            file.name for source in entry.acquisition for file in getattr(source, "files", ()) if hasattr(file, "name")
        ]
        said += [split.note for split in entry.splits]
        layers = [layer for group in entry.cases for layer in (*group.labels.values(), *group.annotations.values())]
        said += [reason for layer in layers for reason in layer.unmapped.values()]
        said += [path for group in entry.cases for path in (group.anchor, *group.other_files.values())]
        said += [f"doi:{entry.citation.doi}"] if entry.citation and entry.citation.doi else []
        for text in said:
            assert " ".join(text.split()) in page, f"{entry.id} does not say {text!r}"


def test_a_licence_that_is_not_sure_says_so_on_both_pages(catalog: Catalog, pages: dict[str, Page]) -> None:
    rows = dict(re.findall(r'<tr id="([^"]+)">(.*?)</tr>', pages["index.html"].source, flags=re.DOTALL))
    for entry in catalog:
        words = {"partly": "partly verified", "memory": "from memory"}.get(entry.licence.confidence)
        if words:
            assert f">({words})</span>" in rows[entry.id], entry.id
            assert f"How sure{words}" in pages[f"entries/{entry.id}.html"].text


def test_the_same_scans_under_another_licence_are_told_on_both_pages(pages: dict[str, Page]) -> None:
    for one, other in (("lits", "msd-liver"), ("msd-liver", "lits")):
        page = pages[f"entries/{one}.html"]
        assert "gives the same scans out under CC-BY-" in page.text
        assert f"{other}.html" in page.links


def test_overlaps_are_links_in_both_directions(catalog: Catalog, pages: dict[str, Page]) -> None:
    assert catalog.overlaps.edges
    for edge in catalog.overlaps.edges:
        assert f"{edge.other}.html" in pages[f"entries/{edge.entry}.html"].links


def test_no_page_names_a_folder_of_this_machine(site: Path) -> None:
    here = str(Path(__file__).parents[2])
    assert not [name for name, content in files_below(site).items() if here.encode() in content]


def test_equal_catalogs_make_equal_bytes(catalog: Catalog, site: Path, tmp_path: Path) -> None:
    written = build_site(catalog, tmp_path / "again")
    assert files_below(tmp_path / "again") == files_below(site)
    assert sorted(path.relative_to(tmp_path / "again").as_posix() for path in written) == sorted(files_below(site))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    build_site(hostile_catalog(tmp_path), tmp_path / "site")
    page = Page(tmp_path / "site/entries/hostile.html")
    index = Page(tmp_path / "site/index.html")
    assert page.tags.count("script") == 1
    assert index.tags.count("script") == 2  # the program and its data
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "<script>alert(1)</script>" in index.text


def test_a_folder_with_other_files_is_refused_and_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(MedshardError, match=r"site\.foreign-files.*\n.*thesis\.tex"):
        build_site(catalog, tmp_path)
    assert files_below(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_in_the_place_of_the_folder_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(MedshardError, match=r"site\.not-a-folder"):
        build_site(catalog, tmp_path / "site")


def test_a_site_is_rebuilt_without_the_pages_of_entries_that_have_gone(tmp_path: Path) -> None:
    both = hostile_catalog(tmp_path)
    build_site(both, tmp_path / "site")
    one = Catalog({"other": both.entry("other")}, both.origins)
    build_site(one, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site/entries").iterdir()] == ["other.html"]


def test_a_file_added_to_a_site_is_not_lost(tmp_path: Path) -> None:
    catalog = hostile_catalog(tmp_path)
    build_site(catalog, tmp_path / "site")
    (tmp_path / "site/entries/mine.html").write_text("mine")
    with pytest.raises(MedshardError, match=r"entries/mine\.html"):
        build_site(catalog, tmp_path / "site")
    assert (tmp_path / "site/entries/mine.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("typed", "meant"), [("Tübingen", "tubingen"), ("CC-BY 4.0", "cc by 4 0"), ("  T1/T2*  ", "t1 t2"), ("½", "1 2")]
)
def test_spelling_does_not_matter_to_the_search(typed: str, meant: str) -> None:
    assert searchable(typed) == meant


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python client is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test when it complains, or asks for anything that is no file."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    opened = context.new_page()
    complaints: list[str] = []

    def refused(dialog: Any) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", refused)
    opened.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
    )
    yield opened
    context.close()
    assert complaints == []


def shown_ids(page: Any) -> list[str]:
    return list(page.eval_on_selector_all("#entries tbody tr:not([hidden])", "rows => rows.map(row => row.id)"))


def choose(page: Any, facet: str, word: str) -> None:
    page.eval_on_selector(f"[data-facet={facet}]", "details => { details.open = true }")
    more = page.locator(f"[data-facet={facet}] button.more")
    if more.count():
        more.click()
    page.locator(f'#filters input[name={facet}][value="{word}"]').check()


def keep_picture(page: Any, name: str) -> None:
    """For a person to look at, and for the docs."""
    if folder := os.environ.get("MEDSHARD_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.mouse.move(0, 0)
        page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.browser
def test_a_reader_searches_filters_opens_and_follows_an_overlap(catalog: Catalog, site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri())
    assert len(shown_ids(page)) == len(catalog)
    assert page.locator("#totals strong").inner_text() == f"{len(catalog)} entries"

    page.keyboard.press("/")
    page.keyboard.type("DICOM")
    searched = shown_ids(page)
    assert "pydicom-samples" in searched
    assert len(searched) < len(catalog)
    keep_picture(page, "catalog-search")

    choose(page, "modality", "CT")
    filtered = shown_ids(page)
    assert filtered
    assert set(filtered) == set(searched) & {entry.id for entry in catalog.where(modality="CT")}
    assert page.locator("#totals strong").inner_text() == f"{len(filtered)} of {len(catalog)} entries"

    page.get_by_role("link", name="DICOM samples of pydicom").click()
    assert page.locator("h1").inner_text() == "DICOM samples of pydicom"
    keep_picture(page, "catalog-entry")
    page.locator("#overlaps").get_by_role("link", name="The five test cases of PyRadiomics").click()
    assert page.url.endswith("entries/pyradiomics-cases.html")
    assert page.locator("#overlaps").get_by_role("link", name="DICOM samples of pydicom").count() == 1

    page.go_back()
    page.go_back()
    page.locator("#entries").wait_for()
    assert shown_ids(page) == filtered, "the address keeps search and filters"


@pytest.mark.browser
def test_a_filter_chooses_what_the_catalog_chooses(catalog: Catalog, site: Path, page: Any) -> None:
    conditions: dict[str, tuple[str, object]] = {
        "group": ("brain", "brain"),
        "modality": ("CT", "CT"),
        "region": ("liver", "liver"),
        "dimension": ("2", 2),
        "task": ("segmentation", "segmentation"),
        "licence": ("CC-BY-4.0", "CC-BY-4.0"),
        "licence_confidence": ("memory", "memory"),
        "access": ("open", "open"),
        "commercial_use": ("allowed", True),
        "redistribution": ("conditional", "conditional"),
        "derivatives": ("unknown", "unknown"),
        "maturity": ("acquired", "acquired"),
        "confidence": ("partly", "partly"),
    }
    assert set(conditions) == {facet.name for facet in FACETS}
    page.goto((site / "index.html").as_uri())
    for facet, (word, condition) in conditions.items():
        expected = [entry.id for entry in catalog.where(**{facet: condition})]
        choose(page, facet, word)
        assert sorted(shown_ids(page)) == expected, facet
        count = page.locator(f'#filters label:has(input[name={facet}][value="{word}"]) .count')
        assert int(count.inner_text()) == len(expected)
        page.get_by_role("button", name="Clear all").click()
        assert len(shown_ids(page)) == len(catalog)


@pytest.mark.browser
def test_counts_say_what_a_click_would_show(catalog: Catalog, site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri() + "#modality=MR")
    count = page.locator("#filters label:has(input[name=access][value=open]) .count").inner_text()
    choose(page, "access", "open")
    assert len(shown_ids(page)) == int(count) == len(catalog.where(modality="MR", access="open"))


@pytest.mark.browser
def test_a_link_carries_search_filters_and_order(catalog: Catalog, site: Path, page: Any) -> None:
    address = (site / "index.html").as_uri()
    page.goto(f"{address}#modality=CT&modality=MR&access=open&sort=cases")
    expected = catalog.where(modality=["CT", "MR"], access="open")
    cases = [catalog.entry(shown).source.cases for shown in shown_ids(page)]
    assert len(cases) == len(expected)
    known = [number for number in cases if number is not None]
    assert known == sorted(known, reverse=True)
    assert cases[: len(known)] == known, "entries without a number come last"
    page.goto(f"{address}#sort=year-up")
    years = [year for shown in shown_ids(page) if (year := catalog.entry(shown).year) is not None]
    assert years == sorted(years)


@pytest.mark.browser
def test_what_is_called_by_the_words_comes_first(catalog: Catalog, site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri() + "#q=pyradiomics")
    assert shown_ids(page)[0] == "pyradiomics-cases"
    assert order_shown(page) == "best match"
    page.goto((site / "index.html").as_uri() + "#q=nothing-is-called-like-this")
    assert shown_ids(page) == []
    assert page.locator("#nothing").is_visible()


def order_shown(page: Any) -> str:
    return str(page.eval_on_selector("#sort", "box => box.selectedOptions[0].text"))


@pytest.mark.browser
def test_the_box_shows_the_order_of_the_rows(catalog: Catalog, site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri())
    assert order_shown(page) == "name"
    assert page.locator("#sort option[value=match]").is_disabled(), "there is nothing to match yet"
    page.locator("#query").fill("liver")
    assert order_shown(page) == "best match"
    page.locator("#sort").select_option("name")
    titles = [catalog.entry(shown).title.casefold() for shown in shown_ids(page)]
    assert titles == sorted(titles)
    page.locator("#sort").select_option("cases")
    cases = [catalog.entry(shown).source.cases or 0 for shown in shown_ids(page)]
    assert cases == sorted(cases, reverse=True)
    page.reload()
    assert order_shown(page) == "most cases"
    page.locator("#sort").select_option("match")
    page.locator("#query").fill("")
    assert order_shown(page) == "name"


@pytest.mark.browser
def test_the_paper_stands_on_a_narrow_screen_whole(site: Path, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 900})
    narrow = context.new_page()
    narrow.goto((site / "entries/lits.html").as_uri())
    for column in ("Size", "Format"):
        cells = narrow.locator(f'.paper td[data-label="{column}"]:visible')
        assert cells.count() > 1, "the paper's and the source's"
        for number in range(cells.count()):
            box = cells.nth(number).bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 400
    narrow.locator("#paper").scroll_into_view_if_needed()
    keep_picture(narrow, "catalog-paper-400")
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 768, 1024, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_their_window(site: Path, catalog: Catalog, browser: Any, width: int, scheme: str) -> None:
    longest = max(site.glob("entries/*.html"), key=lambda path: path.stat().st_size)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    for path in (site / "index.html", longest):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path.name
        keep_picture(page, f"catalog-{path.stem}-{width}-{scheme}")
    context.close()


@pytest.mark.browser
def test_hostile_text_runs_nothing(tmp_path: Path, page: Any) -> None:
    build_site(hostile_catalog(tmp_path), tmp_path / "site")
    for name in ("index.html", "entries/hostile.html"):
        page.goto((tmp_path / "site" / name).as_uri())
        assert EVIL.split("<!--", maxsplit=1)[0].strip() in page.locator("body").inner_text()


@pytest.mark.browser
def test_the_index_of_a_whole_catalog_answers_at_once(catalog: Catalog, site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri())
    milliseconds = page.evaluate(
        """() => {
          const query = document.getElementById("query");
          const start = performance.now();
          for (const typed of ["l", "li", "liv", "live", "liver"]) {
            query.value = typed;
            query.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.getBoundingClientRect();
          }
          return (performance.now() - start) / 5;
        }"""
    )
    assert milliseconds < 1000, f"{milliseconds:.0f} ms for a key"


def test_every_word_of_confidence_is_written_out() -> None:
    from medshard.registry.site.words import CONFIDENCES

    assert set(CONFIDENCES) == set(Confidence)


@pytest.mark.browser
def test_the_picture_for_the_docs(site: Path, page: Any) -> None:
    page.goto((site / "index.html").as_uri() + "#q=liver&modality=CT")
    assert shown_ids(page) is not None
    keep_picture(page, "catalog-site")


def test_entries_that_are_not_valid_are_named_on_the_index(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(HOSTILE.replace("TITLE", "text").replace("modalities: [MR]", "modalities: [XYZ]"))
    build_site(Catalog.load([file]), tmp_path / "site")
    assert "Not valid and therefore not shown: other." in Page(tmp_path / "site/index.html").text
    assert not (tmp_path / "site/entries/other.html").exists()
