"""Row files as their sources write them, with the first lines of the real ones where those are known."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from medshard.registry.schema.annotations import AnyAnnotation, RowAnnotation

ANY: TypeAdapter[Any] = TypeAdapter(AnyAnnotation)

MINI_MIAS = """INFORMATION ABOUT THE FILMS

mdb001 G CIRC B 535 425 197
mdb003 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC B 500 168 26
mdb059 F CIRC B *NOTE 3*
"""

ACDC_INFO = "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"

WFDB_HEADER = """JS00001 12 500 5000
JS00001.mat 16+24 1000/mV 16 0 -254 21756 0 I
#Age: 85
#Sex: Male
#Dx: 164889003,59118001,164934002
#Rx: Unknown
"""

NIH_BOXES = """Image Index,Finding Label,Bbox [x,y,w,h],,,
00013118_008.png,Atelectasis,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661,,,
00014716_007.png,Infiltrate,686.101694915254,131.543498411017,185.491525423729,313.491525423729,,,
"""

VOC = """<annotation><folder>x</folder><filename>a.jpg</filename>
<object><name>polyp</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>5</ymax></bndbox></object>
<object><name>tool</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>
</annotation>"""

ECGEN = """<?xml version="1.0" encoding="utf-8"?><eCitation><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Cough</AbstractText>
<AbstractText Label="FINDINGS">The heart is enlarged.</AbstractText>
<AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText></Abstract></Article></MedlineCitation>
<MeSH><major>Cardiomegaly/mild</major><major>Calcified Granuloma/lung</major><automatic>scar</automatic></MeSH>
</eCitation>"""

FCSV = """# Markups fiducial file version = 4.10
# CoordinateSystem = {frame}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,10,20,30,0,0,0,1,1,1,0,chin,,
"""


def annotation(**fields: Any) -> Any:
    """An annotation of the catalog; its path does not matter where rows are given."""
    if fields["kind"] != "class-folder":
        fields.setdefault("path", "rows.csv")
    if fields["kind"] in ("boxes", "landmarks", "contours"):
        fields.setdefault("format", "csv")
    return ANY.validate_python(fields)


def is_rows(found: Any) -> bool:
    return isinstance(found, RowAnnotation)


def write_csv(
    path: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",", encoding: str = "utf8"
) -> Path:
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data), encoding="utf8")
    return path


def write_text(path: Path, text: str, *, encoding: str = "utf8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
