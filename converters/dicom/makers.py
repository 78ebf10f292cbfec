"""Makers of scanners and their models, as they call them in public; free text in these two attributes stays behind."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What a stated maker contains, in capitals -> the maker. Whole words, the first that fits.
MAKERS = {
    "SIEMENS": "Siemens",
    "GE": "GE",
    "G.E.": "GE",
    "PHILIPS": "Philips",
    "ADAC": "Philips",
    "MARCONI": "Philips",
    "PICKER": "Philips",
    "CANON": "Canon",
    "CANON_MEC": "Canon",
    "TOSHIBA": "Toshiba",
    "TOSHIBA_MEC": "Toshiba",
    "TOSHIBA_MEC_US": "Toshiba",
    "UIH": "United Imaging",
    "UNITED IMAGING": "United Imaging",
    "HITACHI": "Hitachi",
    "FUJIFILM": "Fujifilm",
    "FUJI": "Fujifilm",
    "AGFA": "Agfa",
    "AGFA-GEVAERT": "Agfa",
    "CARESTREAM": "Carestream",
    "KODAK": "Kodak",
    "KONICA": "Konica Minolta",
    "HOLOGIC": "Hologic",
    "LORAD": "Hologic",
    "SAMSUNG": "Samsung",
    "MEDISON": "Samsung",
    "MINDRAY": "Mindray",
    "ESAOTE": "Esaote",
    "NEUSOFT": "Neusoft",
    "SHIMADZU": "Shimadzu",
    "BRUKER": "Bruker",
    "VARIAN": "Varian",
    "ELEKTA": "Elekta",
    "ACCURAY": "Accuray",
    "TOMOTHERAPY": "Accuray",
    "CTI": "Siemens",
    "CPS": "Siemens",
    "ACUSON": "Siemens",
    "MEDISO": "Mediso",
    "HYPERFINE": "Hyperfine",
    "PLANMECA": "Planmeca",
    "ZEISS": "Carl Zeiss",
    "TOPCON": "Topcon",
    "HEIDELBERG ENGINEERING": "Heidelberg Engineering",
    "LEICA": "Leica",
    "HAMAMATSU": "Hamamatsu",
    "ALOKA": "Aloka",
    "SONOSITE": "SonoSite",
    "SWISSRAY": "Swissray",
    "DEL MEDICAL": "Del Medical",
    "VATECH": "Vatech",
    "MORITA": "Morita",
    "NEWTOM": "NewTom",
}
_MAKER = re.compile(
    r"(?<![A-Z])(" + "|".join(re.escape(word) for word in sorted(MAKERS, key=len, reverse=True)) + r")(?![A-Z])"
)

# Words of product names. A model is kept when all its words are here or are short codes, and one of them is here.
_FAMILIES = _words(
    "access accuitomo achieva acuson adac advance advantx aera affirm airis allegra alpha ambition amira apertur "
    "aplio apollo aquarius aquilion architect artis artist artiste as as+ autopix avance avant avanto axiom axis "
    "biograph biomatrix biospec bravo brightspeed brilliance brivo canon cardiovascular celesteion centauri cima "
    "clarity classic clinac concerto core ct cxray definition digitaldiagnost dimension discovery dreamtom drive "
    "drx dst dstream dual duo eclipse edge elan elara eleva elite elition emotion encore ensite entegris envision "
    "epiq esprit essence essenza evo evolution exact excel excelart explorer express fit flash flow force forte "
    "fusion galan galaxy gemini genesis go go.all go.now go.sim go.top go.up gyroscan halcyon harmony hawkeye hd "
    "hde hdi hdx hdxt hispeed hr hres iconos ict incisive infinia infinix ingenia ingenuity innova inspira integris "
    "intera intevo iq irix iu22 jet lb lightning lightspeed logiq lumina luminos lx magna magnetom magnum mct "
    "millennium mobilett mosaic motion mrt multidiagnost multiva mx mybrain naeotom noras nova novus oasis one open "
    "openspeed optima orian orion outlook panorama pantheon pegasus performance perspective phoenix pioneer "
    "platform plus polaris precedence precise precision premium prestige prime prisma pristina pro prodigy pulsera "
    "quadra quantum quasar resolve revolution rhapsode rt rxl saturn scenaria select selenia senographe sensation "
    "sensis sigma signa silent sim single sky skylight skyra sola somatom sonata sonoline source spectra spectral "
    "spectris speed spin spirit symbia sympathy symphony synergy system tandem tim titan titanium toshiba total "
    "trillium trio triotim truebeam truepoint uct uexplorer ultimax ultra umi umr unity upgrade vantage varicam "
    "vario veradius vereos verio versa verza vida viewforum vision vivid voluson voyager vue vx wide x.cite xeleris "
    "xl xper xr xt zenition zoom "
)
_CODE = re.compile(r"[A-Za-z]{0,3}\d{1,4}(?:\.\d)?[A-Za-z]{0,3}")
MOST_WORDS = 5
MOST_CODES = 2


def canonical_maker(stated: str) -> str | None:
    """The maker that a free text names; None when it names none that is known."""
    found = _MAKER.search(stated.upper())
    return MAKERS[found.group(1)] if found else None


def known_model(stated: str, maker: str | None) -> str | None:
    """The model in single spaces; None when the maker is unknown or a word in it belongs to no product.

    A code is at most three letters, four digits and three letters (`MR750`, `1.5T`, `64`); at most two of them, and
    never without a product word, so that neither a name nor a record number passes.
    """
    words = [word for word in re.split(r"[\s_/()-]+", stated) if word]
    families = [word for word in words if word.lower() in _FAMILIES]
    codes = [word for word in words if word.lower() not in _FAMILIES]
    is_known = bool(families) and len(codes) <= MOST_CODES and all(_CODE.fullmatch(word) for word in codes)
    return " ".join(words) if maker and is_known and len(words) <= MOST_WORDS else None
