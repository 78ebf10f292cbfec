"""Chest films with reports as XML, and mammograms with circles in a text file."""

from __future__ import annotations

from collections.abc import Sequence

from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree

SIDE = (48, 56)


@tree(
    "iu-xray",
    evidence=(
        "listing e-extras: find_string 'NLMCXR_png/CXR1000_IM-0003' (file id 45644711957)",
        "github:mlmed/torchxrayvision torchxrayvision/data/NLMCXR_reports.tgz (names in the archive)",
        "find_string 'AbstractText Label=\"COMPARISON\"' (file ids 59395458377, 70559703064: elements, terms, blanks)",
    ),
)
def iu_xray(root: Tree) -> Expected:
    """Two views share a report; an irregular name; no findings section; terms that nobody searches for."""
    films, texts = root.archive("NLMCXR_png.tgz"), root.archive("NLMCXR_reports.tgz")
    reports = {
        1000: (
            {"COMPARISON": "XXXX PA and lateral chest radiographs.", "INDICATION": "XXXX-year-old male, chest pain.",
             "FINDINGS": "There is increased opacity.\nNo effusion.", "IMPRESSION": "Calcified granuloma."},
            ("Opacity/lung/upper lobe/right", "Calcified Granuloma/lung/upper lobe   \t "), ("opacity", "granuloma"),
        ),
        1: ({"COMPARISON": "None.", "FINDINGS": "", "IMPRESSION": "Normal chest x-XXXX."}, ("normal",), ()),
        9: ({"FINDINGS": "A device is in place.", "IMPRESSION": "No change."}, ("Implanted Medical Device",), ()),
    }  # fmt: skip
    names = {
        1000: ("CXR1000_IM-0003-1001", "CXR1000_IM-0003-2001"),
        1: ("CXR1_1_IM-0001-4001", "CXR1_1_IM-0001-3001"),
        9: ("CXR9_IM-2400-1001",),
    }
    words = {1000: ["lung opacity", "calcified granuloma", "granuloma"], 1: ["normal"], 9: []}
    said = {}
    for number, (sections, major, automatic) in reports.items():
        write_lines(
            texts / f"ecgen-radiology/{number}.xml", *xml_report(number, sections, major, automatic, names[number])
        )
        told = {name.capitalize(): text for name, text in sections.items() if text}
        for name in names[number]:
            write_picture(films / f"{name}.png", Phantom(name, SIDE, values=(1,)).grey())
            said[name] = {"report": told, **({"mesh_terms": words[number]} if words[number] else {})}
    return Expected(
        cases={name: str(number) for number, of_one in names.items() for name in of_one},
        annotations=said,
    )


def xml_report(
    number: int, sections: dict[str, str], major: Sequence[str], automatic: Sequence[str], images: Sequence[str]
) -> list[str]:
    """A report as the service gives it: terms, the article with its abstract, the images with their captions."""
    return [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<eCitation>",
        f'   <meta type="rr"/><uId id="CXR{number}"/><pmcId id="{number}"/><docSource>CXR</docSource>',
        "   <MedlineCitation><Article><Journal><JournalIssue/></Journal>",
        "         <ArticleTitle>Indiana University Chest X-ray Collection</ArticleTitle>",
        "         <Abstract>",
        *(f'            <AbstractText Label="{name}">{text}</AbstractText>' for name, text in sections.items()),
        "         </Abstract>",
        "   </Article></MedlineCitation>",
        "   <MeSH>",
        *(f"      <major>{term}</major>" for term in major),
        *(f"      <automatic>{term}</automatic>" for term in automatic),
        "   </MeSH>",
        *(
            f'   <parentImage id="{name}"><figureId>F{place}</figureId><caption>Xray Chest PA and Lateral</caption>'
            "</parentImage>"
            for place, name in enumerate(images, start=1)
        ),
        "</eCitation>",
    ]


@tree(
    "mini-mias",
    evidence=(
        "listing c-thorax: find_string 'mdb001.pgm' (file ids 28951722849, 53229851413), 'all-mias/Info.txt'",
        "find_string 'mdb001 G CIRC B' (file ids 13736109746, 69611124950: lines, two of a film, blanks)",
        "find_string 'mdb216' (file id 67449259041), 'mdb001 G CIRC B' (file id 3627626007): *NOTE 3*",
    ),
)
def mini_mias(root: Tree) -> Expected:
    """Words between the lines of the table; y counts from the lowest row; two circles; clusters without a place."""
    pack = root.archive("all-mias.tar.gz")
    lines = [
        "INFORMATION:",
        "",
        "This file lists the films in the MIAS database and provides",
        "appropriate details as follows:",
        "",
        "1st column: MIAS database reference number.",
        "",
        "REFNUM BG CLASS SEVERITY X Y RADIUS",
    ]
    circles: dict[str, list[tuple[str, tuple[tuple[float, float], ...]]]] = {}
    films = {"mdb001": ("G CIRC B",), "mdb003": (), "mdb005": ("F CIRC B", "F CIRC B"), "mdb216": ("D CALC M",)}
    for name, found in films.items():
        body = Phantom(name, SIDE, values=(1, 2))
        write_picture(pack / f"all-mias/{name}.pgm", body.grey())
        for value, words in enumerate(found, start=1):
            y, x = body.centre(value)
            column, row = round(x), round(y)
            place = "*NOTE 3*" if name == "mdb216" else f"{column} {SIDE[0] - 1 - row} 6"
            around = tuple((middle - 5.5, middle + 6.5) for middle in (row, column))
            circles.setdefault(name, []).append(("circumscribed breast mass", around))
            lines.append(f"{name} {words} {place}")
        if not found:
            lines.append(f"{name} D NORM ")
    write_lines(pack / "all-mias/Info.txt", *lines)
    write_lines(pack / "all-mias/README", *lines)
    write_lines(pack / "all-mias/Licence.txt", "MIAS licence")
    circle = "circumscribed breast mass"
    return Expected(
        cases={name: name for name in films},
        annotations={
            "mdb001": {"abnormality": circle, "severity": "benign", "circles": circles["mdb001"]},
            "mdb003": {"abnormality": "normal", "circles": []},
            "mdb005": {"abnormality": circle, "severity": "benign", "circles": circles["mdb005"]},
            "mdb216": {"abnormality": "breast calcification", "severity": "malignant", "circles": []},
        },
        left=("*/README", "*/Licence.txt"),
    )
